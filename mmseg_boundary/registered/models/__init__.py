"""Models that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .deeplabv3plus_head import DeepLabV3PlusHead
from .encoders import MobileNetV2Encoder, ResNetEncoder
from .semantic_boundary_head import SemanticBoundaryHead
from .smp import SMPEncoderDecoder
from .test_time import BoundarySegTTAModel
from .unet_head import UNetHead

__all__ = [
    'BoundarySegTTAModel',
    'DeepLabV3PlusHead',
    'MobileNetV2Encoder',
    'ResNetEncoder',
    'SMPEncoderDecoder',
    'SemanticBoundaryHead',
    'UNetHead',
]

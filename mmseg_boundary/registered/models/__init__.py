"""Models that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .aspp_decoder_head import ASPPDecoderHead
from .deeplabv3plus_head import DeepLabV3PlusHead
from .drn import DRN
from .edge_encoder_decoder import EdgeEncoderDecoder
from .encoders import MobileNetV2Encoder, ResNetEncoder
from .gscnn_head import GSCNNHead
from .semantic_boundary_head import SemanticBoundaryHead
from .smp import SMPEncoderDecoder
from .test_time import BoundarySegTTAModel
from .unet_head import UNetHead
from .unpadded_psa_head import UnpaddedPSAHead
from .wider_resnet import WiderResNet

__all__ = [
    'ASPPDecoderHead',
    'BoundarySegTTAModel',
    'DRN',
    'DeepLabV3PlusHead',
    'EdgeEncoderDecoder',
    'GSCNNHead',
    'MobileNetV2Encoder',
    'ResNetEncoder',
    'SMPEncoderDecoder',
    'SemanticBoundaryHead',
    'UNetHead',
    'UnpaddedPSAHead',
    'WiderResNet',
]

"""Dilated residual networks."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmseg.models import ResNet
from mmseg.models.utils import ResLayer
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

from .encoders import dilate_throughout, require_features
from .layers import checkpointed, with_norm

DEPTHS = (22, 38, 54, 105)
# Of the nine layers; the widths are multiples of the first. Layers 3 to 6 are stages of a ResNet.
WIDTHS = (1, 1, 2, 4, 8, 16, 32, 32, 32)
STRIDES = (1, 1, 2, 2, 2, 1, 1, 1, 1)
DILATIONS = (1, 1, 1, 1, 1, 2, 4, 2, 1)
STAGES = range(3, 7)


@MODELS.register_module()
class DRN(BaseModule):
    """DRN-D (Yu et al., CVPR 2017), of output stride 8, with the key names of the public
    checkpoints, whose classifier is left out.

    Its four stages of residual blocks are MMSegmentation's, between convolutions that take the
    place of ResNet's pooling and remove the artefacts of dilation.

    Args:
        depth: 22, 38, 54 or 105. The blocks are those of ResNet-18, 34, 50 and 101.
        in_channels: of the images.
        base_channels: of the first two layers; the other widths are multiples of it.
        out_indices: which of the nine layers to return. Of DRN-D-54, 3 has 256 channels at stride
            4, and 8 the last 512 at stride 8.
        norm_cfg: the normalization.
        with_cp: computes each residual block, and each convolution between, again in the backward
            pass instead of keeping what is in it. As everywhere in MMSegmentation, a BN then counts
            each batch twice in its running statistics.
        init_cfg: None draws the convolutions as published, by Kaiming's normal distribution.

    Raises:
        ValueError: there is no network of that depth, or an index has no layer.
    """

    def __init__(
        self,
        depth: int = 54,
        in_channels: int = 3,
        base_channels: int = 16,
        out_indices: Sequence[int] = (3, 8),
        norm_cfg: ConfigType | None = None,
        with_cp: bool = False,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if depth not in DEPTHS:
            raise ValueError(f'DRN got depth={depth!r}; choose 22, 38, 54 or 105.')
        require_features('DRN', out_indices, len(WIDTHS), 'the convolution at stride 1')
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = out_indices
        self.with_cp = with_cp
        block, stages = ResNet.arch_settings[depth - 4]
        channels = in_channels
        for number, (width, stride, dilation) in enumerate(
            zip(WIDTHS, STRIDES, DILATIONS, strict=True)
        ):
            width = width * base_channels
            if number in STAGES:
                layer = ResLayer(
                    block,
                    channels,
                    width,
                    stages[number - STAGES[0]],
                    stride,
                    dilation,
                    norm_cfg=norm_cfg,
                )
                dilate_throughout(layer)
                channels = width * block.expansion
            else:
                kernel = 7 if number == 0 else 3
                conv = nn.Conv2d(
                    channels,
                    width,
                    kernel,
                    stride,
                    padding=kernel // 2 * dilation,
                    dilation=dilation,
                    bias=False,
                )
                layer = with_norm(conv, width, norm_cfg)
                channels = width
            self.add_module(f'layer{number}', layer)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features of images, (N, 3, H, W), at `out_indices`."""
        features = []
        for number in range(len(WIDTHS)):
            layer = getattr(self, f'layer{number}')
            for part in layer if number in STAGES else [layer]:
                x = checkpointed(part, x, self.with_cp)
            features.append(x)
        return tuple(features[index] for index in self.out_indices)

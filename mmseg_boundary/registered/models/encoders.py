"""The encoders of segmentation_models_pytorch: features at strides 2 to 32, torchvision's key
names."""

from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.models import MobileNetV2, ResNet
from mmseg.models.utils import make_divisible
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

from .layers import with_norm

ENDS = (1, 3, 6, 13, 18)  # the last of MobileNetV2's 19 parts before each halving, and the last


@MODELS.register_module()
class ResNetEncoder(ResNet):
    """MMSegmentation's `ResNet`, which returns its stem too (He et al., CVPR 2016; the encoder of
    segmentation_models_pytorch 0.6.0).

    Parameters, their names and what the layers do are torchvision's, as in the parent; with
    dilation, both 3x3 convolutions of a block of ResNet-18 and 34 are dilated, of which the parent
    dilates the first. The encoder of DeepLabV3+ has output stride 16: `strides=(1, 2, 2, 1)` and
    `dilations=(1, 1, 1, 2)`.

    Args:
        depth: 18, 34, 50, 101 or 152.
        out_indices: which features to return: 0 is the stem after its ReLU, at stride 2, and 1 to 4
            are the stages.
        zero_init_residual: the parent's; its default here is torchvision's.
        options: the other arguments of the parent, of which `deep_stem` has to be left out.

    Raises:
        ValueError: an index has no feature, or `deep_stem` is set.
    """

    def __init__(
        self,
        depth: int,
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        zero_init_residual: bool = False,
        **options,
    ) -> None:
        if options.get('deep_stem'):
            raise ValueError(
                'ResNetEncoder has a stem of one 7x7 convolution; leave out `deep_stem`, or take '
                'ResNetV1c.'
            )
        stages = options.get('num_stages', 4)
        require_features(type(self).__name__, out_indices, stages + 1)
        super().__init__(
            depth,
            out_indices=tuple(range(stages)),
            zero_init_residual=zero_init_residual,
            **options,
        )
        self.out_indices = out_indices

    def make_res_layer(self, **kwargs) -> nn.Module:
        """A stage, dilated throughout."""
        stage = super().make_res_layer(**kwargs)
        dilate_throughout(stage)
        return stage

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features of images, (N, 3, H, W), at `out_indices`."""
        x = self.relu(self.norm1(self.conv1(x)))
        features = [x]
        x = self.maxpool(x)
        for name in self.res_layers:
            x = getattr(self, name)(x)
            features.append(x)
        return tuple(features[index] for index in self.out_indices)


class InvertedResidual(nn.Module):
    """A block of MobileNetV2, with torchvision's key names."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        expand_ratio: int,
        norm_cfg: ConfigType,
    ):
        super().__init__()
        hidden = in_channels * expand_ratio
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
            layers.append(with_norm(expand, hidden, norm_cfg, nn.ReLU6))
        depthwise = nn.Conv2d(
            hidden, hidden, 3, stride, dilation, dilation=dilation, groups=hidden, bias=False
        )
        layers.append(with_norm(depthwise, hidden, norm_cfg, nn.ReLU6))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(build_norm_layer(norm_cfg, out_channels)[1])
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


@MODELS.register_module()
class MobileNetV2Encoder(BaseModule):
    """MobileNetV2 with its last convolution of 1280 channels (Sandler et al., CVPR 2018; the
    encoder of segmentation_models_pytorch 0.6.0).

    MMSegmentation's `MobileNetV2` ends before that convolution, dilates the first block of a layer
    alone, and has key names of its own; those of this one are torchvision's. The features have 16,
    24, 32, 96 and 1280 channels, at strides 2 to 32. The encoder of DeepLabV3+ has output stride
    16: `strides=(1, 2, 2, 2, 1, 1, 1)` and `dilations=(1, 1, 1, 1, 1, 2, 2)`.

    Args:
        widen_factor: what the numbers of channels are multiplied by; that of the last convolution
            is 1280 or more.
        strides, dilations: of the first, and of each 3x3 convolution of MobileNetV2's seven layers.
        out_indices: which of the five features to return.
        norm_cfg: the normalization.
        pretrained: a checkpoint with torchvision's key names, 'torchvision://mobilenet_v2' or a
            path, as MMSegmentation's segmentors hand it over; the same as an `init_cfg`.
        init_cfg: None draws the convolutions as torchvision does.

    Raises:
        ValueError: an index has no feature; there are not seven strides and dilations;
            `pretrained` and `init_cfg` are both given.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
        dilations: Sequence[int] = (1, 1, 1, 1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        norm_cfg: ConfigType | None = None,
        pretrained: str | None = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        if pretrained and init_cfg:
            raise ValueError(
                f'MobileNetV2Encoder got pretrained={pretrained!r} and an init_cfg; give one of '
                'them, since both say how the weights begin.'
            )
        if pretrained:
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        require_features(type(self).__name__, out_indices, len(ENDS))
        if not len(strides) == len(dilations) == len(MobileNetV2.arch_settings):
            raise ValueError(
                f'MobileNetV2Encoder got strides={strides!r} and dilations={dilations!r}; give '
                'seven of each, one per layer.'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = out_indices
        channels = make_divisible(32 * widen_factor, 8)
        stem = nn.Conv2d(3, channels, 3, 2, 1, bias=False)
        parts: list[nn.Module] = [with_norm(stem, channels, norm_cfg, nn.ReLU6)]
        for (expand_ratio, width, blocks), stride, dilation in zip(
            MobileNetV2.arch_settings, strides, dilations, strict=True
        ):
            out_channels = make_divisible(width * widen_factor, 8)
            for number in range(blocks):
                step = stride if number == 0 else 1
                parts.append(
                    InvertedResidual(channels, out_channels, step, dilation, expand_ratio, norm_cfg)
                )
                channels = out_channels
        last = make_divisible(1280 * max(1.0, widen_factor), 8)
        top = nn.Conv2d(channels, last, 1, bias=False)
        parts.append(with_norm(top, last, norm_cfg, nn.ReLU6))
        self.features = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features of images, (N, 3, H, W), at `out_indices`."""
        features = []
        for number, part in enumerate(self.features):
            x = part(x)
            if number in ENDS:
                features.append(x)
        return tuple(features[index] for index in self.out_indices)


def dilate_throughout(stage: nn.Module) -> None:
    """Dilates the second 3x3 convolution of MMSegmentation's basic blocks as their first."""
    for block in stage:
        if block.expansion == 1:
            block.conv2.dilation = block.conv1.dilation
            block.conv2.padding = block.conv1.padding


def require_features(
    name: str, out_indices: Sequence[int], count: int, first: str = 'the feature at stride 2'
) -> None:
    """Raises a ValueError where `out_indices` are none, or not below `count`."""
    if not out_indices or not set(out_indices) <= set(range(count)):
        raise ValueError(
            f'{name} got out_indices={tuple(out_indices)!r}; choose from 0 to {count - 1}, where 0 '
            f'is {first}.'
        )

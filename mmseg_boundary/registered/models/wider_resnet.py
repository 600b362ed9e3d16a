"""WRN-38, a wide and shallow residual network."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

from .encoders import require_features
from .layers import checkpointed
from .smp import require_lengths

POOLED = (2, 3)  # the modules before which the features are pooled to half their size


def norm_relu(channels: int, norm_cfg: ConfigType) -> nn.Sequential:
    """A normalization and a ReLU, as 0 and 1."""
    return nn.Sequential(build_norm_layer(norm_cfg, channels)[1], nn.ReLU(inplace=True))


class PreActivationBlock(nn.Module):
    """A residual block whose normalizations and ReLUs come before its convolutions.

    Of two widths it has two 3x3 convolutions; of three a 3x3 between two 1x1, and a dropout of
    whole channels before the last.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        stride: int,
        dilation: int,
        dropout_ratio: float,
        norm_cfg: ConfigType,
    ):
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        self.bn1 = norm_relu(in_channels, norm_cfg)
        self.convs = nn.Sequential()
        channels = in_channels
        for number, (width, kernel) in enumerate(zip(widths, kernels, strict=True), 1):
            if number > 1:
                self.convs.add_module(f'bn{number}', norm_relu(channels, norm_cfg))
            if number == 3:
                self.convs.add_module('dropout', nn.Dropout2d(dropout_ratio))
            spread = dilation if kernel == 3 else 1
            conv = nn.Conv2d(
                channels,
                width,
                kernel,
                stride if number == 1 else 1,
                padding=kernel // 2 * spread,
                dilation=spread,
                bias=False,
            )
            self.convs.add_module(f'conv{number}', conv)
            channels = width
        self.proj_conv = None
        if stride != 1 or in_channels != channels:
            self.proj_conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.bn1(x)
        shortcut = self.proj_conv(activated) if self.proj_conv else x
        return self.convs(activated) + shortcut


@MODELS.register_module()
class WiderResNet(BaseModule):
    """WRN-38 (Wu et al., Pattern Recognition 2019), with the dilations of segmentation networks.

    The layers and key names are those of the public checkpoints 'wider_resnet38_a2', whose
    classifier is left out. Without dilations, as for classification, it has
    `strides=(1, 1, 2, 2, 2, 1)` and `dilations=(1, 1, 1, 1, 1, 1)`.

    Args:
        in_channels: of the images.
        stem_channels: of the first module, a convolution.
        structure: how many residual blocks each further module has; the second and third begin
            with a max-pooling of stride 2.
        widths: of the convolutions of a block, in each of these modules: two of 3x3, or 1x1, 3x3
            and 1x1.
        strides: of the first block of each of these modules.
        dilations: of the 3x3 convolutions of each of these modules.
        dropout_ratios: of blocks with three widths, in each of these modules.
        out_indices: which features to return: 0 is the first module, and so on.
        final_norm: whether the last feature is normalized and activated, as before a classifier.
            Segmentation networks take the sum of its last block as it is.
        norm_cfg: the normalization.
        with_cp: computes each block again in the backward pass instead of keeping what is in it.
            As everywhere in MMSegmentation, a BN then counts each batch twice in its running
            statistics.
        init_cfg: None draws the convolutions by Kaiming's normal distribution.

    Raises:
        ValueError: an index has no feature; the modules have unequally many settings; a block has
            neither two nor three widths.
    """

    def __init__(
        self,
        in_channels: int = 3,
        stem_channels: int = 64,
        structure: Sequence[int] = (3, 3, 6, 3, 1, 1),
        widths: Sequence[Sequence[int]] = (
            (128, 128),
            (256, 256),
            (512, 512),
            (512, 1024),
            (512, 1024, 2048),
            (1024, 2048, 4096),
        ),
        strides: Sequence[int] = (1, 1, 2, 1, 1, 1),
        dilations: Sequence[int] = (1, 1, 1, 2, 4, 4),
        dropout_ratios: Sequence[float] = (0, 0, 0, 0, 0.3, 0.5),
        out_indices: Sequence[int] = (0, 1, 2, 3, 4, 5, 6),
        final_norm: bool = False,
        norm_cfg: ConfigType | None = None,
        with_cp: bool = False,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        settings = dict(
            structure=structure,
            widths=widths,
            strides=strides,
            dilations=dilations,
            dropout_ratios=dropout_ratios,
        )
        require_lengths(
            'WiderResNet', None, 'give one of each per module after the first', **settings
        )
        require_features(
            'WiderResNet', out_indices, len(structure) + 1, 'the convolution at stride 1'
        )
        if not {len(each) for each in widths} <= {2, 3}:
            raise ValueError(
                f'WiderResNet got widths={tuple(widths)!r}; give two or three per module, of the '
                'convolutions of a block.'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = out_indices
        self.with_cp = with_cp
        stem = nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False)
        self.mod1 = nn.Sequential()
        self.mod1.add_module('conv1', stem)
        self.mods = ['mod1']
        channels = stem_channels
        for number, (blocks, width, stride, dilation, dropout) in enumerate(
            zip(*settings.values(), strict=True), 2
        ):
            mod = nn.Sequential()
            for block in range(blocks):
                step = stride if block == 0 else 1
                mod.add_module(
                    f'block{block + 1}',
                    PreActivationBlock(channels, width, step, dilation, dropout, norm_cfg),
                )
                channels = width[-1]
            self.mods.append(f'mod{number}')
            self.add_module(self.mods[-1], mod)
        self.bn_out = norm_relu(channels, norm_cfg) if final_norm else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features of images, (N, 3, H, W), at `out_indices`."""
        features = []
        for number, name in enumerate(self.mods, 1):
            if number in POOLED:
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            for block in getattr(self, name):
                x = checkpointed(block, x, self.with_cp)
            features.append(x)
        if self.bn_out:
            features[-1] = self.bn_out(x)
        return tuple(features[index] for index in self.out_indices)

"""The decoder of a U-Net over any backbone."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

from .layers import with_norm
from .smp import SMPHead, require_lengths


class UNetBlock(nn.Module):
    """Doubles the height and width of features, and joins them with the encoder's."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: ConfigType):
        super().__init__()
        first = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv1 = with_norm(first, out_channels, norm_cfg)
        second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = with_norm(second, out_channels, norm_cfg)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        if skip is None:
            x = F.interpolate(x, scale_factor=2, mode='nearest')
        else:
            x = torch.cat([F.interpolate(x, skip.shape[2:], mode='nearest'), skip], 1)
        return self.conv2(self.conv1(x))


@MODELS.register_module()
class UNetHead(SMPHead):
    """The decoder of `segmentation_models_pytorch.Unet` 0.6.0 (after Ronneberger et al., MICCAI
    2015), with its layers and key names.

    Each block takes the nearest neighbors of what is below, at the size of the encoder's feature
    that it is joined with, then twice a 3x3 convolution, normalization and ReLU; the last one
    doubles the size without a feature. A 3x3 convolution with bias gives the logits, at the size of
    the images where that is even.

    Deviation: of images with an odd height or width, MMSegmentation resizes the logits, bilinearly;
    there segmentation_models_pytorch has nearest neighbors in the last block.

    Args:
        in_channels: of the features that the backbone returns, that of the largest stride last.
        decoder_channels: of each block, the first one that of the smallest feature.
        in_index: the features among the outputs of the backbone, as many as `in_channels`.
        norm_cfg: the normalization.
        dropout_ratio: before the logits; segmentation_models_pytorch has none.
        init_cfg: None draws weights as segmentation_models_pytorch does.
        options: the other arguments of MMSegmentation's decode heads: `num_classes`,
            `out_channels` (1 for two classes with one logit), `loss_decode`, ….

    Raises:
        ValueError: features and blocks are not equally many, or fewer than two.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 64, 128, 256, 512),
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        *,
        in_index: Sequence[int] = (0, 1, 2, 3, 4),
        norm_cfg: ConfigType | None = None,
        dropout_ratio: float = 0,
        init_cfg: OptMultiConfig = None,
        **options,
    ) -> None:
        require_lengths(
            'UNetHead',
            None,
            'give as many of each, two or more',
            in_channels=in_channels,
            in_index=in_index,
            decoder_channels=decoder_channels,
        )
        super().__init__(
            in_channels,
            decoder_channels[-1],
            in_index,
            kernel_size=3,
            norm_cfg=norm_cfg,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **options,
        )
        *skips, below = in_channels
        blocks = nn.ModuleList()
        for skip, channels in zip([*reversed(skips), 0], decoder_channels, strict=True):
            blocks.append(UNetBlock(below + skip, channels, self.norm_cfg))
            below = channels
        self.decoder = nn.ModuleDict(dict(blocks=blocks))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The logits.

        Args:
            inputs: what the backbone returns.

        Returns:
            (N, K, H, W), of twice the height and width of the first feature.
        """
        *skips, x = self._transform_inputs(inputs)
        for block, skip in zip(self.decoder['blocks'], [*reversed(skips), None], strict=True):
            x = block(x, skip)
        return self.cls_seg(x)

"""The decoder of DeepLabV3+ with separable convolutions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig
from torch import Tensor, nn

from .layers import separable_conv, with_norm
from .smp import SMPHead, require_lengths


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one 1x1 convolution, separable ones of several dilations, and
    the mean of the image."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int],
        dropout_ratio: float,
        norm_cfg: ConfigType,
    ):
        super().__init__()

        def pointwise(width: int) -> nn.Sequential:
            return with_norm(nn.Conv2d(width, channels, 1, bias=False), channels, norm_cfg)

        self.convs = nn.ModuleList([pointwise(in_channels)])
        for dilation in dilations:
            conv = separable_conv(in_channels, channels, dilation)
            self.convs.append(with_norm(conv, channels, norm_cfg))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *pointwise(in_channels)))
        merge = pointwise(channels * len(self.convs))
        self.project = nn.Sequential(*merge, nn.Dropout(dropout_ratio))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        return self.project(torch.cat([conv(x).expand(-1, -1, *size) for conv in self.convs], 1))


@MODELS.register_module()
class DeepLabV3PlusHead(SMPHead):
    """The decoder of `segmentation_models_pytorch.DeepLabV3Plus` 0.6.0 (after Chen et al., ECCV
    2018), with its layers and key names.

    MMSegmentation's `DepthwiseSeparableASPPHead` is another one: it has a normalization and a ReLU
    within a separable convolution, 3x3 convolutions after the pyramid and one more before the
    logits.

    Args:
        in_channels: of the feature at stride 4, and of the last one.
        channels: of the decoder.
        in_index: the two features among the outputs of the backbone.
        dilations: of the pyramid. segmentation_models_pytorch has 12, 24 and 36 at each output
            stride.
        low_channels: how many channels of the feature at stride 4 the decoder sees.
        aspp_dropout: of the pyramid's output.
        norm_cfg: the normalization. In training, a batch of one image has no variance after the
            pooling of the pyramid, which BN refuses.
        dropout_ratio: before the logits; segmentation_models_pytorch has none.
        align_corners: of the bilinear interpolation in the decoder and of the logits, which are at
            stride 4. True is that of segmentation_models_pytorch; MMSegmentation warns of it where
            the sizes of crops are not 1 more than a multiple of 8.
        init_cfg: None draws weights as segmentation_models_pytorch does.
        options: the other arguments of MMSegmentation's decode heads: `num_classes`,
            `out_channels` (1 for two classes with one logit), `loss_decode`, ….

    Raises:
        ValueError: there are not two features.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 512),
        channels: int = 256,
        *,
        in_index: Sequence[int] = (1, 4),
        dilations: Sequence[int] = (12, 24, 36),
        low_channels: int = 48,
        aspp_dropout: float = 0.5,
        norm_cfg: ConfigType | None = None,
        dropout_ratio: float = 0,
        align_corners: bool = True,
        init_cfg: OptMultiConfig = None,
        **options,
    ) -> None:
        require_lengths(
            'DeepLabV3PlusHead',
            2,
            'give two of each, of the feature at stride 4 and of the last one',
            in_channels=in_channels,
            in_index=in_index,
        )
        super().__init__(
            in_channels,
            channels,
            in_index,
            kernel_size=1,
            norm_cfg=norm_cfg,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            align_corners=align_corners,
            **options,
        )
        low, top = in_channels
        self.decoder = nn.ModuleDict(
            dict(
                aspp=nn.Sequential(
                    ASPP(top, channels, dilations, aspp_dropout, self.norm_cfg),
                    *with_norm(separable_conv(channels, channels), channels, self.norm_cfg),
                ),
                block1=with_norm(
                    nn.Conv2d(low, low_channels, 1, bias=False), low_channels, self.norm_cfg
                ),
                block2=with_norm(
                    separable_conv(channels + low_channels, channels), channels, self.norm_cfg
                ),
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The logits.

        Args:
            inputs: what the backbone returns.

        Returns:
            (N, K, h, w), of the height and width of the first of the two features.
        """
        low, top = self._transform_inputs(inputs)
        low, top = self.decoder['block1'](low), self.decoder['aspp'](top)
        top = F.interpolate(top, low.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return self.cls_seg(self.decoder['block2'](torch.cat([top, low], 1)))

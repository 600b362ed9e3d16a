"""The decoder of DeepLabV3+ with dense convolutions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models import ASPPHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType
from torch import Tensor, nn


@MODELS.register_module()
class ASPPDecoderHead(ASPPHead):
    """The decoder of DeepLabV3+ (Chen et al., ECCV 2018) without separable convolutions, as in the
    implementations by J. Zhang (pytorch-deeplab-xception) and by NVIDIA (DeepWV3Plus).

    The pyramid is that of MMSegmentation's `ASPPHead`: the image's mean, a 1x1 and three dilated
    3x3 convolutions. Here a 1x1 convolution merges them; the result is upsampled to a feature of
    lower stride, of which a 1x1 convolution leaves `c1_channels`, and two 3x3 convolutions see
    both. The defaults are Zhang's form. NVIDIA's has `projection_norm=False`, `c1_first=True`,
    `logits_bias=False` and no dropout (three arguments of 0), dilations of (1, 12, 24, 36), and a
    feature of stride 2.

    Deviation: the image's mean comes first in the pyramid, as in `ASPPHead` and NVIDIA's code; in
    Zhang's it is the last, which permutes columns of the 1x1 convolution.

    Args:
        in_channels: of the last feature, at `in_index`.
        channels: of the pyramid's branches and of the decoder.
        c1_in_channels: of the feature of lower stride.
        c1_channels: how many of them the decoder sees.
        c1_in_index: which output of the backbone it is.
        dilations: of the pyramid; 1 is a 1x1 convolution. At output stride 8, (1, 12, 24, 36).
        projection_norm: whether a normalization and a ReLU follow the two 1x1 convolutions.
        c1_first: whether the feature of lower stride comes first where the two are concatenated.
        logits_bias: whether the last convolution has a bias.
        aspp_dropout, decoder_dropout, dropout_ratio: of single elements, after the first 1x1
            convolution, between the two 3x3 convolutions, and before the logits.
        norm_cfg: the normalization; None is a BN. In training, a batch of one image has no variance
            after the pooling of the pyramid, which BN refuses.
        align_corners: of the bilinear interpolation in the decoder and of the logits. Both
            implementations have True; MMSegmentation warns of it where the sizes of crops are not 1
            more than a multiple of 8.
        options: the other arguments of MMSegmentation's decode heads.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        channels: int = 256,
        *,
        c1_in_channels: int = 256,
        c1_channels: int = 48,
        c1_in_index: int = 0,
        dilations: Sequence[int] = (1, 6, 12, 18),
        projection_norm: bool = True,
        c1_first: bool = False,
        logits_bias: bool = True,
        aspp_dropout: float = 0.5,
        decoder_dropout: float = 0.5,
        dropout_ratio: float = 0.1,
        norm_cfg: ConfigType | None = None,
        align_corners: bool = True,
        **options,
    ) -> None:
        super().__init__(
            dilations,
            in_channels=in_channels,
            channels=channels,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or dict(type='BN'),
            align_corners=align_corners,
            **options,
        )
        self.c1_in_index = c1_in_index
        self.c1_first = c1_first
        normed = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        projection = normed if projection_norm else dict(conv_cfg=self.conv_cfg, act_cfg=None)
        self.bottleneck = nn.Sequential(
            ConvModule(
                (len(dilations) + 1) * channels, channels, kernel_size=1, bias=False, **projection
            ),
            nn.Dropout(aspp_dropout),
        )
        self.c1_bottleneck = ConvModule(
            c1_in_channels, c1_channels, kernel_size=1, bias=False, **projection
        )
        self.decoder = nn.Sequential(
            ConvModule(channels + c1_channels, channels, kernel_size=3, padding=1, **normed),
            nn.Dropout(decoder_dropout),
            ConvModule(channels, channels, kernel_size=3, padding=1, **normed),
        )
        # MMSegmentation's drops whole channels
        self.dropout = nn.Dropout(dropout_ratio)
        if not logits_bias:
            self.conv_seg = nn.Conv2d(channels, self.out_channels, kernel_size=1, bias=False)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the logits are computed from: (N, channels, h, w), of the height and width of the
        feature of lower stride."""
        x = super()._forward_feature(inputs)
        c1 = self.c1_bottleneck(inputs[self.c1_in_index])
        x = F.interpolate(x, c1.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return self.decoder(torch.cat([c1, x] if self.c1_first else [x, c1], 1))

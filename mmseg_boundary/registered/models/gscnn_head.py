"""The decode head of GSCNN, with a stream of its own for the shapes."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from mmseg.models.backbones.resnet import BasicBlock
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptMultiConfig, SampleList
from torch import Tensor, nn

from ...choices import require_choice
from ...geometry.boundary import find_boundaries, within
from ...labels import is_void
from ...losses.balanced_edge import EDGE_VOID, BalancedEdgeLoss
from .layers import with_norm
from .smp import require_lengths

MODELS.register_module(module=BalancedEdgeLoss)
EDGE_SOURCES = ('sobel', 'canny', 'none')
LOSS_EDGE = dict(type='BalancedEdgeLoss', loss_weight=20.0)
LOSS_ATTENTION = dict(type='SoftmaxFocalLoss', gamma=0)  # cross-entropy
LOSS_DUAL = dict(type='DualTaskLoss', gumbel=True)
# By what each convolution reads: several have one channel alone to write.
INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    mode='fan_in',
    override=dict(name='conv_seg', type='Normal', std=0.01),
)


class Gate(BaseModule):
    """Weighs features by what a map shows there: convolution of f (1 + a), where

    a = sigmoid(BN(convolution(ReLU(convolution(BN([f, map]))))), with convolutions of 1x1.
    """

    def __init__(self, channels: int, norm_cfg: ConfigType):
        super().__init__(dict(type='Xavier', distribution='normal', override=dict(name='conv')))
        both = channels + 1
        self.attention = nn.Sequential(
            build_norm_layer(norm_cfg, both)[1],
            nn.Conv2d(both, both, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(both, 1, 1),
            build_norm_layer(norm_cfg, 1)[1],
            nn.Sigmoid(),
        )
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.conv(x * (1 + self.attention(torch.cat([x, source], 1))))


class ShapeStream(BaseModule):
    """Finds edges in the first feature, gated by what the deeper ones know.

    Before each gate there are a residual block and a convolution to fewer channels, both at the
    size of the edges.

    Args:
        in_channels: of the first feature, and of the one of each gate.
        channels: at each gate.
        norm_cfg: the normalization.
        align_corners: of the bilinear interpolation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int],
        norm_cfg: ConfigType,
        align_corners: bool,
    ):
        super().__init__()
        first, *deeper = in_channels
        widths = [first, *channels]
        self.align_corners = align_corners
        self.sources = nn.ModuleList(nn.Conv2d(each, 1, 1) for each in deeper)
        self.blocks = ModuleList(
            BasicBlock(width, width, norm_cfg=norm_cfg) for width in widths[:-1]
        )
        self.convs = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for wide, narrow in pairwise(widths))
        self.gates = ModuleList(Gate(width, norm_cfg) for width in channels)
        self.last = nn.Conv2d(channels[-1], 1, 1, bias=False)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """(N, 1, *size), the logits of edges."""
        first, *deeper = features
        x = resized(first, size, self.align_corners)
        for feature, to_map, block, conv, gate in zip(
            deeper, self.sources, self.blocks, self.convs, self.gates, strict=True
        ):
            source = resized(to_map(feature), size, self.align_corners)
            x = gate(conv(block(x)), source)
        return self.last(x)


class EdgeASPP(nn.Module):
    """Atrous spatial pyramid pooling with a branch for a map of edges: the mean of the image, the
    map, one 1x1 convolution and 3x3 ones of several dilations, each normalized, with a ReLU."""

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], norm_cfg: ConfigType
    ):
        super().__init__()

        def branch(width: int, kernel_size: int = 1, dilation: int = 1) -> nn.Sequential:
            padding = dilation * (kernel_size // 2)
            conv = nn.Conv2d(
                width, channels, kernel_size, padding=padding, dilation=dilation, bias=False
            )
            return with_norm(conv, channels, norm_cfg)

        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *branch(in_channels))
        self.edge = branch(1)
        self.convs = nn.ModuleList([branch(in_channels)])
        self.convs.extend(branch(in_channels, 3, dilation) for dilation in dilations)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Twice as many times `channels` as there are branches: x and edges have one size."""
        pooled = self.pool(x).expand(-1, -1, *x.shape[2:])
        return torch.cat([pooled, self.edge(edges), *(conv(x) for conv in self.convs)], 1)


@MODELS.register_module()
class GSCNNHead(BaseDecodeHead):
    """The decode head of GSCNN (Takikawa et al., ICCV 2019): a gated stream for shapes, whose edges
    enter the pyramid of the segmentation.

    For any backbone with a feature at stride 1 or 2, and others down to stride 8, as of the dilated
    `WiderResNet` or `ResNetEncoder`. Unless `edge_source` is 'none' the segmentor has to be an
    `EdgeEncoderDecoder`, which adds the edges of the images to the features.

    The losses of `loss_decode` get the segmentation logits, as in other heads. The others have
    places of their own, and are logged under the names of these:

    - `loss_edge`, called with the edge logits, (N, 1, H, W), and their labels, (N, H, W): 1 within
      `edge_radius` of a label change, on either side, 255 at void and 0 elsewhere.
    - `loss_attention`, called as those of `loss_decode`, with labels that are void where the
      probability of an edge is `edge_threshold` or less.
    - `loss_dual`, called as those of `loss_decode`.

    Labels of edges are made from the labels, on their device, without the transform `GenerateEdge`.
    Nothing of this head reads back from a device; MMSegmentation's accuracy, which every decode
    head logs, does, and so may losses of others.

    Args:
        in_channels: of five features, of which the second is joined in the decoder, the first and
            the last three are those of the shape stream, and the last is that of the pyramid.
        channels: of the pyramid's branches and the decoder.
        in_index: the five features among the outputs of the backbone; one may come twice.
        edge_source: the edges of the images that the pyramid gets beside those of the shape stream:
            'sobel', 'canny' (the published network's, by OpenCV on the CPU, for which a GPU has to
            wait) or 'none'. Without them the stream has the size of the first feature in place of
            the image's. Parameters are the same.
        edge_channels: of the shape stream, at its three gates.
        dilations: of the pyramid.
        low_channels: how many channels of the second feature the decoder sees.
        edge_radius: 1 or more, in pixels.
        edge_threshold: a probability.
        loss_edge, loss_attention, loss_dual: the losses; None leaves one out.
        norm_cfg: the normalization; None is BN. In training, a batch of one image has no variance
            after the pooling of the pyramid, which BN refuses.
        dropout_ratio: before the last convolution; the published network has none.
        align_corners: of all bilinear interpolation; True is published.
        init_cfg: None draws convolutions by Kaiming's rule, the last one of each gate by Xavier's
            and the last one of all from N(0, 0.01).
        options: the other arguments of MMSegmentation's decode heads: `num_classes`,
            `out_channels` (1 for two classes with one logit), `loss_decode`, ….

    Raises:
        ValueError: an argument is out of its range; the edges of the images are missing.
    """

    # Places of losses beside `loss_decode`, and their keys in the log.
    further_losses = ('loss_edge', 'loss_attention', 'loss_dual')

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 512, 4096),
        channels: int = 256,
        *,
        in_index: Sequence[int] = (0, 1, 2, 3, 4),
        edge_source: str = 'sobel',
        edge_channels: Sequence[int] = (32, 16, 8),
        dilations: Sequence[int] = (12, 24, 36),
        low_channels: int = 48,
        edge_radius: float = 2,
        edge_threshold: float = 0.8,
        loss_edge: ConfigType | None = LOSS_EDGE,
        loss_attention: ConfigType | None = LOSS_ATTENTION,
        loss_dual: ConfigType | None = LOSS_DUAL,
        norm_cfg: ConfigType | None = None,
        dropout_ratio: float = 0,
        align_corners: bool = True,
        init_cfg: OptMultiConfig = None,
        **options,
    ) -> None:
        require_lengths(
            'GSCNNHead',
            5,
            'give five of each, of features from the stem to the last stage',
            in_channels=in_channels,
            in_index=in_index,
        )
        require_lengths(
            'GSCNNHead', 3, 'give three, one for each gate', edge_channels=edge_channels
        )
        require_choice('edge_source', edge_source, EDGE_SOURCES)
        if edge_radius < 1:
            raise ValueError(f'edge_radius is {edge_radius!r}; give 1 or more pixels.')
        if not 0 < edge_threshold < 1:
            raise ValueError(f'edge_threshold is {edge_threshold!r}; give a number from 0 to 1.')
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='multiple_select',
            norm_cfg=norm_cfg or dict(type='BN'),
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg or INIT,
            **options,
        )
        self.edge_source = edge_source
        self.edge_radius = edge_radius
        self.edge_threshold = edge_threshold
        for place, loss in zip(
            self.further_losses, (loss_edge, loss_attention, loss_dual), strict=True
        ):
            setattr(self, place, MODELS.build(loss) if loss else None)
        first, low, *deeper = in_channels
        self.shape_stream = ShapeStream(
            [first, *deeper], edge_channels, self.norm_cfg, align_corners
        )
        self.edge_attention = nn.Conv2d(2, 1, 1, bias=False)
        self.aspp = EdgeASPP(deeper[-1], channels, dilations, self.norm_cfg)
        branches = 3 + len(dilations)
        self.bottleneck = nn.Conv2d(branches * channels, channels, 1, bias=False)
        self.low = nn.Conv2d(low, low_channels, 1, bias=False)
        self.decoder = nn.Sequential(
            with_norm(
                nn.Conv2d(low_channels + channels, channels, 3, padding=1, bias=False),
                channels,
                self.norm_cfg,
            ),
            with_norm(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels, self.norm_cfg
            ),
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The logits of the segmentation and of edges.

        Args:
            inputs: what the backbone returns and, unless `edge_source` is 'none', behind it the
                edges of the images, (N, 1, H, W), in [0, 1].

        Returns:
            (N, K, h, w), of the height and width of the second feature; (N, 1, H, W), or without
            edges of the images of those of the first feature.
        """
        first, low, *deeper = self._transform_inputs(inputs)
        image_edges = self._image_edges(inputs, first)
        edge_logits = self.shape_stream([first, *deeper], image_edges.shape[2:])
        both = torch.cat([edge_logits.sigmoid(), image_edges.to(edge_logits.dtype)], 1)
        top = deeper[-1]
        attention = self._resized(self.edge_attention(both).sigmoid(), top)
        x = self.bottleneck(self.aspp(top, attention))
        joined = torch.cat([self.low(low), self._resized(x, low)], 1)
        return self.cls_seg(self.decoder(joined)), edge_logits

    def loss_by_feat(
        self, seg_logits: tuple[Tensor, Tensor], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """The losses of a batch by their keys in the log, from what `forward` returns."""
        labels = self._stack_batch_gt(batch_data_samples)
        logits, edge_logits = (self._resized(each, labels) for each in seg_logits)
        losses = super().loss_by_feat(logits, batch_data_samples)
        labels = labels.squeeze(1)
        void_label = 255 if self.ignore_index is None else self.ignore_index
        void = is_void(labels, void_label)
        if self.loss_edge is not None:
            edges = within(find_boundaries(labels, ~void), self.edge_radius - 1)
            edge_labels = edges.long().masked_fill(void, EDGE_VOID)
            losses['loss_edge'] = self.loss_edge(edge_logits, edge_labels)
        if self.loss_attention is not None:
            is_edge = edge_logits.squeeze(1).sigmoid() > self.edge_threshold
            losses['loss_attention'] = self.loss_attention(
                logits, labels.masked_fill(~is_edge, void_label), ignore_index=void_label
            )
        if self.loss_dual is not None:
            losses['loss_dual'] = self.loss_dual(logits, labels, ignore_index=void_label)
        return losses

    def predict_by_feat(
        self, seg_logits: tuple[Tensor, Tensor], batch_img_metas: list[dict]
    ) -> Tensor:
        """The logits of the segmentation alone, at the size of the images."""
        return super().predict_by_feat(seg_logits[0], batch_img_metas)

    def _image_edges(self, inputs: Sequence[Tensor], first: Tensor) -> Tensor:
        if self.edge_source == 'none':
            return torch.zeros_like(first[:, :1])
        edges = inputs[-1]
        if edges.shape[1] != 1:
            raise ValueError(
                f'GSCNNHead has edge_source={self.edge_source!r}, but got features without the '
                "edges of the images: give the model type='EdgeEncoderDecoder', or the head "
                "edge_source='none'."
            )
        return edges

    def _resized(self, maps: Tensor, like: Tensor) -> Tensor:
        return resized(maps, like.shape[2:], self.align_corners)


def resized(maps: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Bilinearly; maps of this size already are returned themselves."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode='bilinear', align_corners=align_corners)

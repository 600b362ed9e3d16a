"""An auxiliary head that learns the boundaries of every class."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptConfigType, OptMultiConfig, SampleList
from torch import Tensor, nn

from ...labels import Target, encode
from ...losses.semantic_boundary import require_semantic_boundary_options, semantic_boundary_loss


class EdgeLoss(nn.Module):
    """`semantic_boundary_loss` of one output of the head, in float32 (float64 stays) and outside of
    autocast.

    Args:
        radius, output_stride: those of `semantic_boundary_loss`.
        loss_weight: the factor of the value; `LossWeightSchedule` moves it.
        loss_name: the key in the log.
    """

    def __init__(self, radius: float, output_stride: int, loss_weight: float, loss_name: str):
        super().__init__()
        self.radius = radius
        self.output_stride = output_stride
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, edge_logits: Tensor, target: Target) -> Tensor:
        """The weighted loss of a batch, a scalar."""
        dtype = torch.promote_types(edge_logits.dtype, torch.float32)
        with torch.autocast(edge_logits.device.type, enabled=False):
            value = semantic_boundary_loss(
                edge_logits.to(dtype), target, self.radius, self.output_stride
            )
            return self.loss_weight * value


@MODELS.register_module()
class SemanticBoundaryHead(BaseDecodeHead):
    """Has the backbone learn where the boundary of each class lies, in training alone (SBCB:
    Ishikawa & Aoki, Sensors 23(15), 2023; the head is CASENet's: Yu et al., CVPR 2017).

    Beside the stock auxiliary head in a list, of which both segmentors and logs know the order:

        auxiliary_head=[
            dict(type='FCNHead', ...),
            dict(type='SemanticBoundaryHead', in_channels=(256, 512, 2048), num_classes=19),
        ]

    Each stage but the last gives one map: 1x1 convolution, normalization, ReLU, bilinear to the
    size of the labels, 3x3 convolution. The last stage gives a map per class, o_last, in the same
    way; and all of them together give o_fuse, for class k

        o_fuse_k = a_k o_last_k + sum over the other stages i of  b_ki side_i + c_k

    The loss is loss_weight * (L(o_fuse) + L(o_last)), with L as in `semantic_boundary_loss`; the
    log has the two as 'aux_1.loss_sbd_fuse' and 'aux_1.loss_sbd_last'. The edges are made from the
    labels, on their device. One logit stands for the edges of class 1.

    Args:
        in_channels: of each of the stages, the last one last.
        in_index: the stages among the outputs of the backbone, as many as `in_channels`. The
            authors take ResNet's stem and its stages 0, 1 and 3; MMSegmentation's ResNet does not
            return the stem.
        num_classes: K.
        out_channels: None for one logit per class, or 1 for two classes with one logit.
        radius: 1 or more, in pixels: how thick an edge is on either side.
        output_stride: 1 for edges at the size of the labels; 2 and 4 take cells of as many pixels,
            and 1/4 and 1/16 of the memory.
        loss_weight: the factor of both terms. The authors' configs have 5 for Cityscapes in 40k
            iterations, and 1 in later ones.
        norm_cfg: the normalization; the stock heads have SyncBN.
        align_corners: of the bilinear interpolation.
        ignore_index: the void label; None is 255.
        input_transform: as in other heads of several stages; no other one is known.
        init_cfg: None draws the convolutions from N(0, 0.01), as the authors do.

    Raises:
        ValueError: an argument is out of its range; in training, on the CPU, a label is neither a
            class nor void; in testing, always.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_index: Sequence[int] = (0, 1, 3),
        *,
        num_classes: int,
        out_channels: int | None = None,
        radius: float = 2,
        output_stride: int = 1,
        loss_weight: float = 1.0,
        norm_cfg: OptConfigType = None,
        align_corners: bool = False,
        ignore_index: int | None = 255,
        input_transform: str = 'multiple_select',
        init_cfg: OptMultiConfig = None,
    ) -> None:
        _require_stages(in_channels, in_index, input_transform)
        require_semantic_boundary_options(radius, output_stride)
        super().__init__(
            in_channels,
            channels=1,
            num_classes=num_classes,
            out_channels=out_channels,
            threshold=0.5,  # for the base class, which warns of one logit without
            dropout_ratio=0,
            norm_cfg=norm_cfg or dict(type='BN'),
            in_index=in_index,
            input_transform=input_transform,
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01),
        )
        del self.conv_seg  # DistributedDataParallel refuses parameters that nothing uses
        self.output_stride = output_stride
        self.loss_decode = nn.ModuleList(
            EdgeLoss(radius, output_stride, loss_weight, f'loss_sbd_{output}')
            for output in ('fuse', 'last')
        )
        *sides, _ = maps = [1] * (len(in_channels) - 1) + [self.out_channels]
        # Not as children of the head, whose `init_weights` would let each ConvModule draw anew.
        self.projections = nn.ModuleList(
            ConvModule(channels, count, 1, norm_cfg=self.norm_cfg)
            for channels, count in zip(in_channels, maps, strict=True)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(1, 1, 3, padding=1, padding_mode='reflect', bias=False) for _ in sides
        )
        self.convs.append(
            nn.Conv2d(self.out_channels, self.out_channels, 3, padding=1, padding_mode='reflect')
        )
        # The grouped convolution of [last_k, side_1, ...] for each class k.
        self.fuse = nn.Conv2d(
            self.out_channels * len(maps), self.out_channels, 1, groups=self.out_channels
        )

    def forward(
        self, inputs: Sequence[Tensor], size: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The edge logits o_fuse and o_last.

        Args:
            inputs: what the backbone returns.
            size: (height, width) of the logits; None for those of the first stage.

        Returns:
            Two of (N, K, height, width).
        """
        features = self._transform_inputs(inputs)
        size = features[0].shape[2:] if size is None else size
        *sides, last = (
            conv(self._resized(project(feature), size))
            for feature, project, conv in zip(features, self.projections, self.convs, strict=True)
        )
        # Without the copy of all sides for each class that `self.fuse(...)` would take.
        of_last, *of_sides = self.fuse.weight.flatten(1).unbind(1)
        of_sides = torch.stack(of_sides, 1)[..., None, None]
        fuse = F.conv2d(torch.cat(sides, 1), of_sides, self.fuse.bias)
        return fuse + of_last.view(-1, 1, 1) * last, last

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: ConfigType
    ) -> dict[str, Tensor]:
        """The two losses of a batch, by their keys in the log."""
        labels = batch_data_samples[0].gt_sem_seg.data
        return self.loss_by_feat(self(inputs, self._output_size(labels)), batch_data_samples)

    def loss_by_feat(
        self, seg_logits: tuple[Tensor, Tensor], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """The two losses from what `forward` returns, resized where its size is another."""
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        void = 255 if self.ignore_index is None else self.ignore_index
        target = encode(labels, self.out_channels, void)
        size = self._output_size(labels)
        return {
            loss.loss_name: loss(self._resized(edge_logits, size), target)
            for loss, edge_logits in zip(self.loss_decode, seg_logits, strict=True)
        }

    def predict(self, *args: object, **kwargs: object) -> Tensor:
        """Refuses: edges are no segmentation."""
        raise ValueError(
            'SemanticBoundaryHead finds boundaries, not classes, so that it cannot predict a '
            'segmentation: make it one of `auxiliary_head`, and give `decode_head` another type.'
        )

    def _output_size(self, labels: Tensor) -> list[int]:
        return [-(-extent // self.output_stride) for extent in labels.shape[-2:]]

    def _resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        if maps.shape[2:] == tuple(size):
            return maps
        return F.interpolate(maps, size, mode='bilinear', align_corners=self.align_corners)


def _require_stages(
    in_channels: Sequence[int], in_index: Sequence[int], input_transform: str
) -> None:
    several = all(isinstance(each, Sequence) for each in (in_channels, in_index))
    if not several or len(in_channels) != len(in_index) or len(in_channels) < 2:
        raise ValueError(
            f'SemanticBoundaryHead got in_channels={in_channels!r} and in_index={in_index!r}; give '
            'the channels and the index of each stage, for two stages or more.'
        )
    if input_transform != 'multiple_select':
        raise ValueError(
            f'input_transform is {input_transform!r}; leave it out, since SemanticBoundaryHead '
            "takes its stages one by one ('multiple_select')."
        )

"""A segmentor whose decode head sees the edges of the images."""

import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from ...geometry.image_edges import canny_edges, sobel_edges

EDGES = dict(sobel=sobel_edges, canny=canny_edges)


@MODELS.register_module()
class EdgeEncoderDecoder(EncoderDecoder):
    """MMSegmentation's `EncoderDecoder`, which adds the edges of the images to the features, for a
    decode head with `edge_source` ('sobel', 'canny' or 'none'), such as `GSCNNHead`.

    They are made from the batch as the network gets it, in training and in testing, so that crops
    and augmented images have their own. Its normalization is undone first. Where a batch was padded
    the padding is a part of the image. Checkpoints have the keys of `EncoderDecoder`.
    """

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The features of normalized images, (N, C, H, W), and behind them their edges,
        (N, 1, H, W), unless the head wants none."""
        features = tuple(super().extract_feat(inputs))
        if self.decode_head.edge_source == 'none':
            return features
        with torch.no_grad():
            return *features, EDGES[self.decode_head.edge_source](self._images(inputs))

    def _auxiliary_head_forward_train(
        self, inputs: tuple[Tensor, ...], data_samples: SampleList
    ) -> dict[str, Tensor]:
        # Their features may be counted from the last.
        has_edges = self.decode_head.edge_source != 'none'
        return super()._auxiliary_head_forward_train(
            inputs[:-1] if has_edges else inputs, data_samples
        )

    def _images(self, inputs: Tensor) -> Tensor:
        """From 0 to 1."""
        images = inputs.float()
        preprocessor = self.data_preprocessor
        if getattr(preprocessor, 'mean', None) is not None:
            images = images * preprocessor.std + preprocessor.mean
        return (images / 255).clamp(0, 1)

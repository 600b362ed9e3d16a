"""Test time augmentation."""

from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.utils import SampleList


@MODELS.register_module()
class BoundarySegTTAModel(SegTTAModel):
    """MMSegmentation's `SegTTAModel`, correct for heads of one logit too.

    With such a head the `seg_logits` of a segmentor are probabilities already. `SegTTAModel` takes
    their sigmoid again, which is 0.5 or more, above the heads' default threshold of 0.3, so that
    every pixel becomes foreground.
    """

    def merge_preds(self, data_samples_list: list[SampleList]) -> SampleList:
        """One sample per image, predicted by the mean of its augmentations' probabilities."""
        if self.module.out_channels > 1:
            return super().merge_preds(data_samples_list)
        return [self._merge_binary(data_samples) for data_samples in data_samples_list]

    def _merge_binary(self, data_samples: SampleList):
        probs = sum(sample.seg_logits.data for sample in data_samples) / len(data_samples)
        foreground = (probs > self.module.decode_head.threshold).to(probs)
        # Label and path are those of the first, as in the parent.
        merged = data_samples[0]
        merged.set_data(
            dict(seg_logits=PixelData(data=probs), pred_sem_seg=PixelData(data=foreground))
        )
        return merged

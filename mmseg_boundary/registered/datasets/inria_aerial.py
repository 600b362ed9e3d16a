"""Aerial images with buildings, one class."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class InriaAerialDataset(BaseSegDataset):
    """The Inria aerial image labeling data set (Maggiori et al., IGARSS 2017), as
    `tools/dataset_converters/inria_aerial.py` leaves it: patches of 180 tiles from five cities.

    Labels are 0, background, and 1, building, as a head of one logit is trained with; there is no
    void. (In the published files a building is 255, which MMSegmentation takes for void.)

    Args:
        img_suffix: suffix of the images.
        kwargs: as for `BaseSegDataset`.
    """

    METAINFO = dict(classes=('background', 'building'), palette=[[0, 0, 0], [220, 220, 220]])

    def __init__(self, img_suffix: str = '.png', **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, **kwargs)

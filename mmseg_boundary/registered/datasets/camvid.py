"""CamVid in the folder layout of the SegNet tutorial."""

from collections.abc import Sequence

from mmseg.registry import DATASETS

from .paired_folders import PairedFolders

UNLABELLED = 11


@DATASETS.register_module()
class CamVidDataset(PairedFolders):
    """CamVid's road scenes with 11 classes (Brostow et al. 2009; Badrinarayanan et al. 2017).

    Label 11, unlabelled, becomes void (255).

    Args:
        img_suffix: suffix of the images; None takes the one found in the folder: '.png' as
            published, '.jpg' in recompressed copies.
        kwargs: as for `BaseSegDataset`.
    """

    ROOT_VARIABLE = 'CAMVID_ROOT'
    METAINFO = dict(
        classes=(
            'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
            'pedestrian', 'bicyclist',
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
            [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
            [0, 128, 192],
        ],
    )  # fmt: skip

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """From labels in the files to indices of `new_classes`; all others to void."""
        classes = range(len(cls.METAINFO['classes']))
        label_map = super().get_label_map(new_classes) or {index: index for index in classes}
        return {**label_map, UNLABELLED: 255}

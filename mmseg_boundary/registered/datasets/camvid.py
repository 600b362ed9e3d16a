"""CamVid in the folder layout of the SegNet tutorial."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine import fileio
from mmseg.registry import DATASETS

from .paired_folders import PairedFolders

UNLABELLED = 11


@DATASETS.register_module()
class CamVidDataset(PairedFolders):
    """CamVid's road scenes with 11 classes (Brostow et al. 2009; Badrinarayanan et al. 2017).

    Label 11, unlabelled, becomes void (255).

    Args:
        drive_part: which frames of each drive, as two fractions: (0.8, 1) are the last fifth.
            Frames are named DRIVE_FRAME; neighbours are all but the same image, so that images to
            tune on are held out as a contiguous part.
        kwargs: as for `BaseSegDataset`; without `img_suffix` the one found in the folder: '.png'
            as published, '.jpg' in recompressed copies.

    Raises:
        ValueError: `drive_part` is no such pair.
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

    def __init__(self, drive_part: tuple[float, float] = (0, 1), **kwargs) -> None:
        first, last = drive_part
        if not 0 <= first < last <= 1:
            raise ValueError(
                f'drive_part is {drive_part!r}; give two fractions, the first below the second.'
            )
        self.drive_part = drive_part
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry per frame of that part, drive by drive."""
        drives = {}
        for entry in sorted(super().load_data_list(), key=lambda entry: entry['img_path']):
            drive = Path(entry['img_path']).stem.rpartition('_')[0]
            drives.setdefault(drive, []).append(entry)
        first, last = self.drive_part
        return [
            entry
            for frames in drives.values()
            for entry in frames[round(first * len(frames)) : round(last * len(frames))]
        ]

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """From labels in the files to indices of `new_classes`; all others to void."""
        classes = range(len(cls.METAINFO['classes']))
        label_map = super().get_label_map(new_classes) or {index: index for index in classes}
        return {**label_map, UNLABELLED: 255}


@DATASETS.register_module()
class HalfCamVidDataset(CamVidDataset):
    """The copy of CamVid that `tools/dataset_converters/halve.py` makes, 240x180.

    Raises:
        ValueError: the first image has another size; widths in pixels mean something else there.
    """

    ROOT_VARIABLE = 'CAMVID_HALF_ROOT'
    SIZE = (180, 240)

    def load_data_list(self) -> list[dict]:
        """One entry per frame, as of `CamVidDataset`."""
        entries = super().load_data_list()
        for entry in entries[:1]:
            image = mmcv.imfrombytes(fileio.get(entry['img_path'], self.backend_args))
            if image.shape[:2] != self.SIZE:
                height, width = image.shape[:2]
                raise ValueError(
                    f'{entry["img_path"]} is {width}x{height}, and half of CamVid is 240x180: make '
                    'a copy with tools/dataset_converters/halve.py, and point '
                    f'{self.ROOT_VARIABLE} to it.'
                )
        return entries

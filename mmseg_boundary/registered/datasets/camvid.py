"""CamVid in the folder layout of the SegNet tutorial."""

from collections.abc import Sequence

from mmengine.fileio import exists, list_dir_or_file
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

UNLABELLED = 11
IMAGE_SUFFIXES = ('.png', '.jpg')


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid's road scenes with 11 classes (Brostow et al. 2009; Badrinarayanan et al. 2017).

    Label 11, unlabelled, becomes void (255).

    Args:
        img_suffix: suffix of the images; None takes the one found in the folder: '.png' as
            published, '.jpg' in recompressed copies.
        kwargs: as for `BaseSegDataset`.
    """

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

    def __init__(self, img_suffix: str | None = None, **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """From labels in the files to indices of `new_classes`; all others to void."""
        classes = range(len(cls.METAINFO['classes']))
        label_map = super().get_label_map(new_classes) or {index: index for index in classes}
        return {**label_map, UNLABELLED: 255}

    def load_data_list(self) -> list[dict]:
        """One entry per image.

        Raises:
            FileNotFoundError: the folder has no images.
        """
        if self.img_suffix is None:
            self.img_suffix = self._find_suffix()
        return super().load_data_list()

    def _find_suffix(self) -> str:
        folder = self.data_prefix['img_path']
        for suffix in IMAGE_SUFFIXES if exists(folder, self.backend_args) else ():
            if any(list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True,
                                    backend_args=self.backend_args)):  # fmt: skip
                return suffix
        raise FileNotFoundError(
            f'No {" or ".join(IMAGE_SUFFIXES)} images in {folder!r}. Point the environment '
            "variable CAMVID_ROOT, or data_root in the config, to CamVid's folder: the one that "
            'holds train, trainannot, val and valannot.'
        )

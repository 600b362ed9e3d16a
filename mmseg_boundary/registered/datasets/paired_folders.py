"""Images in one folder and their labels in another, as small data sets come."""

from mmengine.fileio import exists, list_dir_or_file
from mmseg.datasets import BaseSegDataset

IMAGE_SUFFIXES = ('.png', '.jpg')


class PairedFolders(BaseSegDataset):
    """Folders `train`, `trainannot`, `val`, `valannot`, …, whose images are PNG or JPEG.

    A final class has `METAINFO`, and in `ROOT_VARIABLE` the name of the environment variable by
    which our configs find its folder.

    Args:
        img_suffix: suffix of the images; None takes the one found in the folder.
        kwargs: as for `BaseSegDataset`.
    """

    ROOT_VARIABLE: str

    def __init__(self, img_suffix: str | None = None, **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, **kwargs)

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
            f"variable {self.ROOT_VARIABLE}, or data_root in the config, to the data set's folder: "
            'the one that holds train, trainannot, val and valannot.'
        )

"""Faces with the masks of their parts."""

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CelebAMaskHQDataset(BaseSegDataset):
    """CelebAMask-HQ (Lee et al., CVPR 2020), as `tools/dataset_converters/celeba_mask_hq.py` leaves
    it: 30,000 faces of 512x512, with 18 parts and the background, or with all parts as one face.

    There is no void. The license is for research that is not commercial.

    Args:
        one_face: all parts become one class, so that labels are 0, background, and 1, face, as a
            head of one logit is trained with.
        img_suffix: suffix of the images.
        metainfo: as for `BaseSegDataset`; of the classes of the parts, some may be chosen.
        kwargs: as for `BaseSegDataset`.

    Raises:
        ValueError: `one_face` is set, and other classes are given.
    """

    METAINFO = dict(
        classes=(
            'background', 'skin', 'nose', 'eyeglasses', 'left eye', 'right eye', 'left eyebrow',
            'right eyebrow', 'left ear', 'right ear', 'mouth', 'upper lip', 'lower lip', 'hair',
            'hat', 'earring', 'necklace', 'neck', 'cloth',
        ),
        palette=[
            [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128],
            [0, 128, 128], [128, 128, 128], [64, 0, 0], [192, 0, 0], [64, 128, 0], [192, 128, 0],
            [64, 0, 128], [192, 0, 128], [64, 128, 128], [192, 128, 128], [0, 64, 0], [128, 64, 0],
            [0, 192, 0],
        ],
    )  # fmt: skip
    FACE = dict(classes=('background', 'face'), palette=[[0, 0, 0], [128, 0, 0]])

    def __init__(
        self,
        one_face: bool = False,
        img_suffix: str = '.jpg',
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        if one_face:
            classes = (metainfo or {}).get('classes')
            if classes is not None and tuple(classes) != self.FACE['classes']:
                raise ValueError(
                    f'CelebAMaskHQDataset got one_face=True and the classes {tuple(classes)!r}; '
                    'leave out one of them.'
                )
            metainfo = {**self.FACE, **(metainfo or {})}
        super().__init__(img_suffix=img_suffix, metainfo=metainfo, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """From labels in the files to indices of `new_classes`; of a face, all parts to 1."""
        if new_classes is not None and tuple(new_classes) == cls.FACE['classes']:
            return {index: int(index > 0) for index in range(len(cls.METAINFO['classes']))}
        return super().get_label_map(new_classes)

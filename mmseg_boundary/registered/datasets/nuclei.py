"""Nuclei of cells in microscopy, one class."""

from mmseg.registry import DATASETS

from .paired_folders import PairedFolders


@DATASETS.register_module()
class NucleiDataset(PairedFolders):
    """Stage 1 of the 2018 Data Science Bowl (Caicedo et al., Nature Methods 2019), one class.

    Labels are 0, background, and 1, the union of the nuclei, as a head of one logit is trained
    with; there is no void.

    Args:
        img_suffix: suffix of the images; None takes the one found in the folder.
        kwargs: as for `BaseSegDataset`.
    """

    ROOT_VARIABLE = 'NUCLEI_ROOT'
    METAINFO = dict(classes=('background', 'nucleus'), palette=[[0, 0, 0], [220, 220, 220]])

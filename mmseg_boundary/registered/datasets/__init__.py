"""Data sets that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .camvid import CamVidDataset, HalfCamVidDataset
from .celeba_mask_hq import CelebAMaskHQDataset
from .inria_aerial import InriaAerialDataset
from .nuclei import NucleiDataset
from .shapes import ShapesDataset

__all__ = [
    'CamVidDataset',
    'CelebAMaskHQDataset',
    'HalfCamVidDataset',
    'InriaAerialDataset',
    'NucleiDataset',
    'ShapesDataset',
]

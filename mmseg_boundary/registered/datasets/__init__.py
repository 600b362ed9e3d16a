"""Data sets that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .camvid import CamVidDataset, HalfCamVidDataset
from .nuclei import NucleiDataset
from .shapes import ShapesDataset

__all__ = ['CamVidDataset', 'HalfCamVidDataset', 'NucleiDataset', 'ShapesDataset']

"""Data sets that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .camvid import CamVidDataset
from .shapes import ShapesDataset

__all__ = ['CamVidDataset', 'ShapesDataset']

"""The path of the repository, and the reasons for which a test may be skipped."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
CAMVID = Path(os.environ.get('CAMVID_ROOT', ROOT.parent / 'shared/data/CamVid'))

NO_GPU = 'no CUDA device'
NO_CAMVID = 'no CamVid: link its folder to ../shared/data/CamVid or set CAMVID_ROOT'
NO_OPERATORS = 'no compiled operators of mmcv, which PSANet and CCNet need'
ALLOWED_SKIPS = {'onedl': {NO_GPU, NO_CAMVID, NO_OPERATORS}, 'mmlab': {NO_GPU, NO_CAMVID}}

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason=NO_CAMVID)

"""The networks of EPL's tables that MMSegmentation lacks, as their configs have them: sizes."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import stacks
from tests.support.skips import NO_OPERATORS, ROOT

# (parameters without an auxiliary head, as another hand wrote down from published code; stride of
# the logits)
NETWORKS = {
    'deeplabv3plus-wrn38_ce_city': (137_103_936, 2),
    'deeplabv3plus-r101_ce_voc': (59_344_309, 4),
    'deeplabv3plus-drn54_ce_voc': (40_737_061, 4),
    'deeplabv3plus-mbv2_ce_voc': (5_816_053, 4),
    'ccnet-wrn38_ce_city': (147_871_188, 8),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_parameters_and_logits(name):
    if name.startswith('ccnet') and not stacks.has_compiled_operators():
        pytest.skip(NO_OPERATORS)
    register_all_modules()
    config = Config.fromfile(ROOT / f'configs/{name.split("-")[0]}/{name}.py')
    expected, stride = NETWORKS[name]
    with torch.device('meta'):
        model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
        height, width = config.crop_size
        features = model.extract_feat(torch.zeros(1, 3, height, width))
        logits = model.decode_head(features)
    parts = (model.backbone, model.decode_head)
    assert sum(each.numel() for part in parts for each in part.parameters()) == expected
    size = (-(-height // stride), -(-width // stride))
    assert logits.shape == (1, model.num_classes, *size)
    if name.startswith('ccnet'):
        assert model.auxiliary_head(features).shape == (1, 19, *size)
    else:
        assert not model.with_auxiliary_head


@pytest.mark.parametrize('name', NETWORKS)
def test_backbones_begin_from_one_file(name):
    """Which the config names once: one that is fetched, or a path on the disk."""
    config = Config.fromfile(ROOT / f'configs/{name.split("-")[0]}/{name}.py')
    if config.model.pretrained:
        assert config.model.pretrained == config.pretrained and '://' in config.pretrained
    else:
        checkpoint = config.model.backbone.init_cfg
        assert checkpoint == dict(type='Pretrained', checkpoint=config.pretrained)
        assert config.pretrained.startswith('pretrained/')

"""Every config we ship: short, a stock file plus its losses, and able to train."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import stacks
from tests.support import losses as table
from tests.support.nets import preprocessed
from tests.support.skips import NO_OPERATORS, ROOT

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
NEEDS_OPERATORS = ('psanet', 'ccnet')
# What a config of ours may say beyond its stock base: this, and the loss it is named after.
OURS = {
    'custom_imports',
    'cross_entropy',
    'evaluator',
    'voc_evaluator',
    'val_evaluator',
    'test_evaluator',
}
LOSSES = {'ce': ['CrossEntropyLoss']}
for _row in table.LOSSES.values():
    LOSSES |= _row.configs


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_it_is_short_and_begins_with_our_base(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 10
    bases = Config._get_base_files(str(path))
    assert bases[0] == './_base_/boundary.py'


def test_it_loads_with_a_list_of_losses_and_stock_auxiliary_heads(path):
    config = Config.fromfile(path)
    losses = config.model.decode_head.loss_decode
    assert [loss.type for loss in losses] == LOSSES[path.stem.split('_')[1]]
    if losses[0].type == 'CrossEntropyLoss':
        assert losses[0] == dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
    auxiliary = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)
    assert config.model.auxiliary_head.loss_decode == auxiliary


def test_it_evaluates_boundaries(path):
    """Of VOC, where void is drawn along the contours, with void as boundary."""
    config = Config.fromfile(path)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.type == 'BoundaryMetric'
        assert evaluator.get('void_is_boundary', False) == path.stem.endswith('_voc')


def test_test_time_augmentation_is_the_papers(path):
    config = Config.fromfile(path)
    scales, flips, *_ = config.tta_pipeline[-1].transforms
    assert [each.scale_factor for each in scales] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [each.prob for each in flips] == [0.0, 1.0]


@pytest.mark.parametrize(
    'path', [p for p in CONFIGS if p.stem.endswith(('_city', '_voc'))], ids=lambda path: path.stem
)
def test_it_differs_from_stock_in_its_losses_alone(path):
    ours = Config.fromfile(path).to_dict()
    stock = Config.fromfile(installed_config(Config._get_base_files(str(path))[-1])).to_dict()
    ours['model']['decode_head'].pop('loss_decode')
    stock['model']['decode_head'].pop('loss_decode')
    name = path.stem.split('_')[1].replace('boundary', 'kervadec')
    assert set(ours) - set(stock) == OURS - {'val_evaluator', 'test_evaluator'} | {name}
    for key in set(stock) - OURS:
        assert without_scopes(ours[key]) == stock[key], key


def installed_config(name):
    import mmseg

    return f'{mmseg.__path__[0]}/.mim/configs/{name.removeprefix("mmseg::")}'


def without_scopes(config):
    """What comes through `mmseg::` says so in each of its types."""
    if isinstance(config, dict):
        return {key: without_scopes(value) for key, value in config.items() if key != '_scope_'}
    if isinstance(config, (list, tuple)):
        return type(config)(without_scopes(value) for value in config)
    return config


@pytest.mark.parametrize(
    'name, kernel_size, mu, weights, ablation_kernel',
    [('city', 23, 2, (0.20, 0.50), 11), ('voc', 15, 10, (0.10, 0.20), 7)],
)
def test_weights_shrink_as_the_terms_grow(name, kernel_size, mu, weights, ablation_kernel):
    """The stock crops are twice the ablation's: the kernel doubles to the next odd number up."""
    epl = Config.fromfile(ROOT / f'configs/_base_/epl_{name}.py').epl
    h, h0 = kernel_size // 2, ablation_kernel // 2
    assert (epl.kernel_size, epl.mu) == (2 * ablation_kernel + 1, mu)
    assert epl.point_weight == pytest.approx(weights[0] * ((h0 + 1) / (h + 1)) ** 2, rel=0.02)
    assert epl.line_weight == pytest.approx(weights[1] * h0 / h, rel=0.02)


@pytest.mark.parametrize(
    'name, crop, weight, ablation_crop',
    [
        ('voc', (512, 512), 0.10, (256, 256)),
        ('shapes', (128, 128), 0.10, (256, 256)),
        ('city', (512, 1024), 0.05, (256, 512)),
        ('camvid', (240, 320), 0.05, (256, 512)),
    ],
)
def test_kervadecs_weight_shrinks_as_distances_grow(name, crop, weight, ablation_crop):
    config = Config.fromfile(ROOT / f'configs/pspnet_boundary_{name}.py')
    assert config.crop_size == crop
    growth = (math.prod(crop) / math.prod(ablation_crop)) ** 0.5
    assert config.kervadec.loss_weight == pytest.approx(weight / growth, rel=0.01)


# One config per head and loss; the data sets differ in numbers alone.
STEPS = [path for path in CONFIGS if path.stem.endswith('_city')]


@pytest.mark.parametrize('path', STEPS, ids=lambda path: path.stem)
def test_it_makes_a_training_step(path):
    if path.stem.startswith(NEEDS_OPERATORS) and not stacks.has_compiled_operators():
        pytest.skip(NO_OPERATORS)
    register_all_modules()
    config = Config.fromfile(path)
    config.model.pretrained = None
    config.model.data_preprocessor.size = (33, 65)
    torch.manual_seed(0)
    # SyncBN exists on GPUs alone; MMEngine reverts it too in a run of one process
    model = revert_sync_batchnorm(MODELS.build(config.model)).train()
    batch = preprocessed(model, config.model.decode_head.num_classes, 33, 65)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    (boundary,) = {key for key in losses if key.startswith('decode.loss_')} - {'decode.loss_ce'}
    last_layer = model.decode_head.conv_seg.weight
    (gradient,) = torch.autograd.grad(losses[boundary], last_layer, retain_graph=True)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

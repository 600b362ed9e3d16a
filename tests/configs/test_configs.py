"""Every config we ship: of one shape, a net plus its losses, and able to train."""

import inspect
import math
import shutil
from collections import Counter
from copy import deepcopy
from functools import cache

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import stacks
from mmseg_boundary.registered.models import WiderResNet
from tests.support import losses as table
from tests.support.nets import preprocessed
from tests.support.skips import NO_OPERATORS, ROOT

FOLDER = ROOT / 'configs'
CONFIGS = sorted(
    path
    for path in FOLDER.rglob('*.py')
    if not {'_base_', 'lazy', 'studies'} & set(path.relative_to(FOLDER).parts)
)
NEEDS_OPERATORS = ('psanet_', 'ccnet')  # the stock heads
ONE_LOGIT = ('nuclei', 'celeba', 'inria')
# What a config of ours may say beyond its stock base.
OURS = {'custom_imports', 'losses', 'evaluator', 'val_evaluator', 'test_evaluator'}
LEAF = """\
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator
"""
LOSSES = {'ce': ['CrossEntropyLoss']} | table.WRAPPERS
for _row in table.LOSSES.values():
    LOSSES |= _row.configs
# Those with a second auxiliary head, beside losses of the decode head.
SEMANTIC_BOUNDARIES = {'sbd': 'ce', 'sbdepl': 'epl'}
LOSSES |= {name: LOSSES[losses] for name, losses in SEMANTIC_BOUNDARIES.items()}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request):
    return request.param


@cache
def read(path):
    return Config.fromfile(path)


def config_of(path):
    """A copy, which may be changed."""
    return deepcopy(read(path))


def bases_of(path):
    """As the file names them."""
    return [str(base) for base in Config._get_base_files(str(path))]


def stock_of(path):
    """MMSegmentation's config that a file inherits, `mmseg::…`; None of a net that has none there,
    whose parts may come from `mmseg::_base_`."""
    for base in bases_of(path):
        if not base.startswith('mmseg::'):
            base = stock_of(path.parent / base)
        if base and not base.startswith('mmseg::_base_/'):
            return base
    return None


def inherited(path):
    """All files of ours that a file inherits."""
    found, left = set(), [path.resolve()]
    while left:
        path = left.pop()
        for base in bases_of(path):
            if '::' not in base and (file := (path.parent / base).resolve()) not in found:
                found.add(file)
                left.append(file)
    return found


def follows(path, protocol):
    """Whether a file inherits the schedule of a published protocol, such as 'semseg'."""
    names = [base.name for base in inherited(path) if base.parent.name == 'schedules']
    return any(name.startswith(f'{protocol}_') for name in names)


def auxiliary_heads(config):
    """Some nets have none, some several; without that of semantic boundaries."""
    heads = config.model.get('auxiliary_head') or []
    heads = heads if isinstance(heads, list) else [heads]
    return [head for head in heads if head['type'] != 'SemanticBoundaryHead']


def learns_semantic_boundaries(path):
    return path.stem.split('_')[1] in SEMANTIC_BOUNDARIES


def test_it_has_the_shape_of_all(path):
    """A loss base, which begins with the patch that `mmseg::` needs, and a base of net and data."""
    assert len(path.stem.split('_')) == 3, 'NETWORK_LOSS_DATA'
    losses, model = bases_of(path)
    root = '.' if path.parent == FOLDER else '..'
    assert losses.startswith(f'{root}/_base_/losses/')
    assert model.startswith(f'{root}/_base_/models/')
    # A net of another folder may say more.
    text = path.read_text()
    assert text.endswith(LEAF) and len(text.splitlines()) <= (3 if root == '.' else 10)
    first = path
    while bases := bases_of(first):
        first = first.parent / bases[0]
    assert first == first.parent / 'runtime.py' and 'compat.resolve_packages()' in first.read_text()


def test_names_are_unique_and_say_the_network():
    assert max(Counter(path.stem for path in CONFIGS).values()) == 1
    for path in CONFIGS:
        if path.parent != FOLDER:
            assert path.stem.startswith(f'{path.parent.name}-')
            assert (path.parent / 'README.md').is_file()


def test_each_base_is_inherited():
    """By a config, or by a base that is."""
    used = set().union(*map(inherited, CONFIGS))
    assert used == set((FOLDER / '_base_').resolve().rglob('*.py'))


def test_it_loads_with_a_list_of_losses_and_stock_auxiliary_heads(path):
    config = config_of(path)
    losses = config.model.decode_head.loss_decode
    assert [loss.type for loss in losses] == LOSSES[path.stem.split('_')[1]]
    first = losses[0].get('loss', losses[0])  # in a wrapper
    if first.type == 'CrossEntropyLoss':
        one_logit = path.stem.endswith(ONE_LOGIT)
        plain = dict(type='CrossEntropyLoss', use_sigmoid=one_logit, avg_non_ignore=True)
        assert first == plain
    heads = auxiliary_heads(config)
    assert len(heads) == 1 or path.parent != FOLDER
    for head in heads:
        auxiliary = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)
        if path.parent != FOLDER and stock_of(path):
            continue  # compared with the stock file
        if follows(path, 'semseg'):
            auxiliary['avg_non_ignore'] = True
        assert head.loss_decode == auxiliary


@pytest.mark.parametrize(
    'path', filter(learns_semantic_boundaries, CONFIGS), ids=lambda path: path.stem
)
def test_the_head_of_semantic_boundaries_is_the_second(path):
    """Beside that of the net it is inherited from, with as many classes; the losses of the decode
    head are those of the config without it."""
    network, name, data = path.stem.split('_')
    without = path.with_name(f'{network}_{SEMANTIC_BOUNDARIES[name]}_{data}.py')
    config = config_of(path)
    stock, ours = config.model.auxiliary_head
    if without.exists():
        plain = config_of(without)
        assert stock == plain.model.auxiliary_head
        assert config.model.decode_head == plain.model.decode_head
    assert ours.type == 'SemanticBoundaryHead' and ours.in_index == [0, 1, 3]
    assert (ours.num_classes, ours.loss_weight) == (stock.num_classes, 5)


def test_every_data_set_has_semantic_boundaries():
    names = {
        f'pspnet_{name}_{data}'
        for name in SEMANTIC_BOUNDARIES
        for data in ('city', 'voc', 'camvid', 'shapes')
    }
    names.add('pspnet_sbd_camvidhalf')  # an arm of a study
    assert {path.stem for path in CONFIGS if learns_semantic_boundaries(path)} == names


def test_it_evaluates_boundaries(path):
    """Of VOC, where void is drawn along the boundaries, with void as boundary."""
    config = config_of(path)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.type == 'BoundaryMetric'
        of_voc = path.stem.split('_')[2].startswith('voc')
        assert evaluator.get('void_is_boundary', False) == of_voc


def test_test_time_augmentation_is_the_papers(path):
    config = config_of(path)
    scales, flips, *_ = config.tta_pipeline[-1].transforms
    factors = [each.get('scale_factor') for each in scales]
    if None in factors:  # of the size that images are tested at
        tested = next(each for each in config.test_pipeline if each.type == 'Resize').scale
        assert all(each.keep_ratio for each in scales)
        factors = [round(min(each.scale) / min(tested), 2) for each in scales]
        assert factors == [round(max(each.scale) / max(tested), 2) for each in scales]
    assert factors == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [each.prob for each in flips] == [0.0, 1.0]


WITH_STOCK = [path for path in CONFIGS if stock_of(path)]


def test_the_large_nets_are_stock():
    large = {
        path for path in CONFIGS if path.parent == FOLDER and path.stem[-4:] in ('city', '_voc')
    }
    assert len(large) == 36 and large <= set(WITH_STOCK)


@pytest.mark.parametrize('path', WITH_STOCK, ids=lambda path: path.stem)
def test_it_differs_from_stock_in_its_losses_alone(path):
    ours = config_of(path).to_dict()
    stock = Config.fromfile(installed_config(stock_of(path))).to_dict()
    ours['model']['decode_head'].pop('loss_decode')
    if learns_semantic_boundaries(path):
        ours['model']['auxiliary_head'], _ = ours['model']['auxiliary_head']
    stock['model']['decode_head'].pop('loss_decode')
    assert set(ours) - set(stock) == OURS - {'val_evaluator', 'test_evaluator'}
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


ABLATIONS = dict(voc=(7, 10, (0.10, 0.20), (256, 256)), city=(11, 2, (0.20, 0.50), (256, 512)))


@pytest.mark.parametrize(
    'name, kernel_size, crop',
    [
        ('city', 23, (512, 1024)),
        ('voc', 15, (512, 512)),
        ('voc', 15, (513, 513)),
        ('voc473', 13, (465, 465)),
        ('voc473', 13, (473, 473)),
        ('city560', 17, (560, 560)),
    ],
)
def test_weights_shrink_as_the_terms_grow(name, kernel_size, crop):
    """The kernel grows as the crop does, to the nearest odd number. The stock crops are twice the
    ablation's: between two odd numbers, the kernel becomes the larger."""
    _, epl = Config.fromfile(FOLDER / f'_base_/losses/epl_{name}.py').losses
    ablation_kernel, mu, weights, ablation_crop = ABLATIONS[name.rstrip('0123456789')]
    h, h0 = kernel_size // 2, ablation_kernel // 2
    grown = ablation_kernel * (math.prod(crop) / math.prod(ablation_crop)) ** 0.5
    assert (epl.kernel_size, epl.mu) == (kernel_size, mu)
    assert -1 <= grown - kernel_size < 1 + 1e-9 and kernel_size % 2
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
    assert config.losses[1].loss_weight == pytest.approx(weight / growth, rel=0.01)


@pytest.mark.parametrize('name', ['camvid', 'shapes'])
def test_the_window_of_the_structure_loss_shrinks_with_the_crop(name):
    """The published one is of 31 px, at 352 x 352."""
    config = Config.fromfile(ROOT / f'configs/pspnet_structure_{name}.py')
    window = 31 * math.prod(config.crop_size) ** 0.5 / 352
    assert abs(config.losses[0].window - window) <= 1


# One config per net and loss, of Cityscapes where there is one: data sets differ in numbers alone,
# and in whether there is one logit.
STEPS = {}
for each in sorted(CONFIGS, key=lambda path: not path.stem.endswith('_city')):
    STEPS.setdefault((each.stem.rpartition('_')[0], each.stem.endswith(ONE_LOGIT)), each)


@pytest.mark.parametrize('path', STEPS.values(), ids=lambda path: path.stem)
def test_it_makes_a_training_step(path):
    if path.stem.startswith(NEEDS_OPERATORS) and not stacks.has_compiled_operators():
        pytest.skip(NO_OPERATORS)
    makes_a_step(path)


def makes_a_step(path):
    """Each of its losses has a gradient at the last layer."""
    register_all_modules()
    config = config_of(path)
    config.model.pretrained = None
    # A U-Net halves its input four times.
    size = (32, 64) if path.stem.startswith('unet') else (33, 65)
    config.model.data_preprocessor.size = size
    if config.model.backbone.type == 'WiderResNet':
        narrow_wrn38(config.model.backbone, [config.model.decode_head, *auxiliary_heads(config)])
    torch.manual_seed(0)
    # SyncBN exists on GPUs alone; MMEngine reverts it too in a run of one process
    model = revert_sync_batchnorm(MODELS.build(config.model)).train()
    batch = preprocessed(model, config.model.decode_head.num_classes, *size)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    # beside `loss_decode`, on other logits too
    further = [f'decode.{place}' for place in getattr(model.decode_head, 'further_losses', ())]
    assert all(losses[key].isfinite() for key in further)
    names = [key for key in losses if key.startswith('decode.loss_') and key not in further]
    assert len(names) == len(config.losses)
    last_layer = model.decode_head.conv_seg.weight
    for name in names:
        (gradient,) = torch.autograd.grad(losses[name], last_layer, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0
    if learns_semantic_boundaries(path):
        edges = model.auxiliary_head[1].fuse.weight
        (gradient,) = torch.autograd.grad(losses['aux_1.loss_sbd_fuse'], edges, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() > 0
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def narrow_wrn38(backbone, heads):
    """With an eighth of its channels: it has 105 million parameters."""
    widths = inspect.signature(WiderResNet).parameters['widths'].default
    backbone.update(stem_channels=8, widths=eighth(widths))
    for head in heads:
        for name in {'in_channels', 'c1_in_channels'} & set(head):
            head[name] = eighth(head[name])


def eighth(channels):
    return channels // 8 if isinstance(channels, int) else [eighth(each) for each in channels]


def test_a_net_of_its_own_is_tested_alike(tmp_path):
    """In a folder, without a stock file and without an auxiliary head."""
    shutil.copytree(FOLDER / '_base_', tmp_path / '_base_')
    tmp_path.joinpath('_base_/models/plain_shapes.py').write_text("""\
_base_ = ['./pspnet_small.py', '../datasets/shapes.py']
model = dict(auxiliary_head=None, decode_head=dict(num_classes=6))
""")
    config = tmp_path / 'plain/plain-r18_bf1_shapes.py'
    config.parent.mkdir()
    config.write_text(
        f"_base_ = ['../_base_/losses/bf1.py', '../_base_/models/plain_shapes.py']\n{LEAF}"
    )
    assert stock_of(config) is None and auxiliary_heads(config_of(config)) == []
    test_it_has_the_shape_of_all(config)
    test_it_loads_with_a_list_of_losses_and_stock_auxiliary_heads(config)
    test_it_evaluates_boundaries(config)
    test_test_time_augmentation_is_the_papers(config)
    register_all_modules()
    makes_a_step(config)

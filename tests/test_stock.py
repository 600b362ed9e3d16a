"""Configs for MMSegmentation alone: the same network, from the same checkpoint."""

import json
import re
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import config as of_config
from mmseg_boundary import stacks
from mmseg_boundary.stock import NoStockForm, stock_config
from tests.support.commands import run
from tests.support.skips import ROOT
from tests.support.small_run import leave_configs_unformatted
from tests.support.stock_alone import build_all, logits_of, narrow

FOLDER = ROOT / 'configs'
LAZY_METRIC = FOLDER / 'lazy/pspnet_epl_shapes_boundary.py'
WITHOUT_STOCK_FORM = {
    LAZY_METRIC: 'default_hooks.checkpoint.save_best',
    FOLDER
    / 'unet/unet-s5-d16_kervadec_tables.py': 'dataset.metainfo.classes is a choice of classes',
}
CONFIGS = sorted(
    path
    for path in FOLDER.rglob('*.py')
    if not {'_base_', 'studies'} & set(path.relative_to(FOLDER).parts)
)
ALONE = """
import runpy, sys
sys.modules['mmseg_boundary'] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""
SHAPES = FOLDER / 'pspnet_epl_shapes.py'
CAMVID = FOLDER / 'pspnet_epl_camvid.py'
INRIA = FOLDER / 'unet/unet-s5-d16_bf1_inria.py'
NUCLEI = FOLDER / 'unet/unet-s5-d16_ce_nuclei.py'


@pytest.fixture(autouse=True)
def unformatted(monkeypatch):
    leave_configs_unformatted(monkeypatch)


def stock_of(path, **changes):
    config = Config.fromfile(path)
    config.merge_from_dict(changes)
    return Config(stock_config(config))


def test_mmsegmentation_alone_builds_every_config(tmp_path):
    """And gives the same logits from the same checkpoint, by `init_model` and MMSegInferencer. One
    checkpoint and one comparison per network: losses and data sets do not change it."""
    register_all_modules()
    assert len(CONFIGS) > 40
    networks, pairs = {}, []
    for path in CONFIGS:
        config = Config.fromfile(path)
        if path in WITHOUT_STOCK_FORM:
            with pytest.raises(NoStockForm, match=WITHOUT_STOCK_FORM[path]):
                stock_config(config)
            continue
        if ours := models_of_ours(config.model):
            with pytest.raises(NoStockForm, match=f"type is '{ours[0]}', which has"):
                stock_config(config)
            continue
        out = tmp_path / f'{path.parent.name}_{path.name}'
        out.write_text(Config(stock_config(config)).pretty_text)
        assert not re.search('mmseg_boundary|shapes://', out.read_text()), path
        pairs.append((str(out), number_of(path, config, networks, tmp_path)))
    (tmp_path / 'pairs.json').write_text(json.dumps(pairs))
    child = ROOT / 'tests/support/stock_alone.py'
    said = run(sys.executable, '-W', 'ignore', '-c', ALONE, child, tmp_path, cwd=tmp_path)
    assert f'{len(networks)} networks' in said and len(networks) >= 8
    assert len({number for _, number in pairs} - {None}) == len(networks)


def models_of_ours(model):
    """The types of a network, of its backbone and of its head that MMSegmentation lacks."""
    types = [part.type for part in (model, model.backbone, model.decode_head)]
    # lazy configs have classes, of which none is ours
    names = [kind for kind in types if isinstance(kind, str)]
    return [kind for kind in names if MODELS.get(kind).__module__.startswith('mmseg_boundary')]


def number_of(path, config, networks, folder):
    """The number of the checkpoint for the network of our config, which is made at first sight."""
    if path.stem.startswith(('psanet_', 'ccnet')) and not stacks.has_compiled_operators():
        return None
    settings = config.model.to_dict()
    del settings['decode_head']['loss_decode']
    key = str(settings)
    if key not in networks:
        networks[key] = len(networks)
        narrow(config.model)
        torch.manual_seed(0)
        model = init_model(config, device='cpu')
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
        classes = [str(number) for number in range(model.num_classes)]
        meta = dict(classes=classes, palette=[[number] * 3 for number in range(len(classes))])
        saved = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta))
        torch.save(saved | dict(logits=logits_of(model)), folder / f'{networks[key]}.pth')
    return networks[key]


def test_a_name_of_ours_and_a_file(tmp_path, monkeypatch):
    for number, given in enumerate(['pspnet_epl_shapes', str(SHAPES)]):
        out = tmp_path / f'{number}.py'
        monkeypatch.setattr(sys, 'argv', ['config', '--stock', given, str(out)])
        of_config.main()
        assert Config.fromfile(out).to_dict() == stock_config(Config.fromfile(SHAPES))
    assert out.read_text().startswith('# MMSegmentation alone: ')


@pytest.mark.parametrize(
    'given, words',
    [
        (['none.py', 'new.py'], 'The config none.py does not exist'),
        (['none', 'new.py'], "has no config 'none', but these"),
        ([str(SHAPES), 'there.py'], 'there.py exists or does not end in .py'),
        ([str(SHAPES), 'new.txt'], 'new.txt exists or does not end in .py'),
        ([str(SHAPES), 'there.py/new.py'], 'could not be written'),
    ],
)
def test_a_wrong_command_is_a_sentence(tmp_path, monkeypatch, given, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there.py').write_text('mine = 1')
    monkeypatch.setattr(sys, 'argv', ['config', '--stock', *given])
    with pytest.raises(SystemExit, match=words):
        of_config.main()
    assert (tmp_path / 'there.py').read_text() == 'mine = 1'
    assert [path.name for path in tmp_path.iterdir()] == ['there.py']


def test_what_takes_the_place_of_ours():
    hooks = [dict(type='LossWeightSchedule'), dict(type='EMAHook'), dict(type='StepSeed')]
    visualization = dict(type='BoundaryVisualizationHook', draw=True, width=5, ignore_index=0)
    stock = stock_of(
        FOLDER / 'pspnet_epl_voc.py',
        custom_hooks=hooks,
        default_hooks=dict(visualization=visualization, finite=dict(type='CheckFiniteLossHook')),
        tta_model=dict(type='BoundarySegTTAModel'),
        custom_imports=dict(imports=['mmseg_boundary.registered', 'mine']),
        mine=dict(type='EPLLoss'),
        other=dict(type='Other'),
    )
    assert (
        stock.val_evaluator == stock.test_evaluator == dict(type='IoUMetric', iou_metrics=['mIoU'])
    )
    assert stock.custom_hooks == [dict(type='EMAHook')]
    assert stock.default_hooks.visualization == dict(type='SegVisualizationHook', draw=True)
    assert 'finite' not in stock.default_hooks and 'timer' in stock.default_hooks
    assert stock.tta_model == dict(type='SegTTAModel')
    assert stock.custom_imports.imports == ['mine']
    assert stock.custom_imports.allow_failed_imports is False
    assert stock.other == dict(type='Other')
    assert not {'mine', 'losses', 'evaluator'} & set(stock)
    ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
    assert stock.model.decode_head.loss_decode == [ce]
    assert stock.default_scope == 'mmseg'


def test_our_random_transforms_are_left_out():
    stock = stock_of(FOLDER / 'pspnet/pspnet-r50_epl_voc.py')
    for dataset in stock.train_dataloader.dataset.datasets:
        assert [step.type for step in dataset.pipeline] == [
            *('LoadImageFromFile', 'LoadAnnotations', 'RandomRotate', 'RandomFlip', 'RandomCrop'),
            'PackSegInputs',
        ]


@pytest.mark.parametrize('path, one_logit', [(SHAPES, False), (NUCLEI, True)])
def test_without_a_loss_of_mmsegmentation_it_is_the_cross_entropy(path, one_logit):
    losses = [dict(type='SoftDiceLoss'), dict(type='BF1Loss')]
    ce = dict(type='CrossEntropyLoss', use_sigmoid=one_logit, avg_non_ignore=True)
    for given in (losses, losses[0], dict(type='LossSum', losses=losses)):
        config = Config.fromfile(path)
        config.model.decode_head.loss_decode = given
        assert stock_config(config)['model']['decode_head']['loss_decode'] == [ce]
    # A list of MMSegmentation's stays what it is, and so do the losses that a sum of ours holds.
    focal, dice = dict(type='FocalLoss', loss_weight=3.0), dict(type='DiceLoss')
    inner = dict(type='LossSum', losses=[dict(type='EPLLoss'), dice], loss_weight=0.25)
    config.model.decode_head.loss_decode = [
        dict(type='mmseg.BF1Loss'), dict(type='LossSum', losses=[focal, inner], loss_weight=2.0),
    ]  # fmt: skip
    assert stock_config(config)['model']['decode_head']['loss_decode'] == [
        dict(focal, loss_weight=6.0),
        dict(dice, loss_weight=0.5),
    ]


def test_a_head_that_calls_losses_by_position_keeps_their_number():
    config = Config.fromfile(SHAPES)
    ohem = dict(type='OhemCrossEntropy')
    both = dict(type='LossSum', losses=[ohem, dict(type='EPLLoss')])
    config.model.decode_head = dict(type='DDRHead', loss_decode=[dict(type='BF1Loss'), both])
    ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
    assert stock_config(config)['model']['decode_head']['loss_decode'] == [ce, ohem]
    both['losses'].append(ohem)
    config.model.decode_head.loss_decode = [ce, both]
    with pytest.raises(NoStockForm, match=r'model.decode_head.loss_decode.1 is a sum of losses'):
        stock_config(config)


@pytest.mark.parametrize(
    'path, changes, words',
    [
        (SHAPES, {'default_hooks.checkpoint.save_best': 'mBoundaryF_3px'},
         "default_hooks.checkpoint.save_best is 'mBoundaryF_3px', which has no form"),
        (SHAPES, {'default_hooks.checkpoint.save_best': ['mIoU', 'near/mTrimapIoU_1px']},
         "default_hooks.checkpoint.save_best is 'near/mTrimapIoU_1px'"),
        (SHAPES, {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='mBoundaryIoU')]},
         "custom_hooks.0.monitor is 'mBoundaryIoU'"),
        (SHAPES, {'model.backbone.type': 'EPLLoss'}, "model.backbone.type is 'EPLLoss'"),
        (SHAPES, {'load_from': 'shapes://0/1.pth'}, "load_from is 'shapes://0/1.pth'"),
        (SHAPES, {'val_dataloader.dataset.metainfo': dict(classes=('lens', 'moon'))},
         'val_dataloader.dataset.metainfo.classes is a choice of classes'),
        (CAMVID, {'train_dataloader.dataset.drive_part': (0, 0.8)},
         'train_dataloader.dataset.drive_part is a part of each drive'),
        (CAMVID, {'val_dataloader.dataset.type': 'CityscapesDataset'},
         'train_dataloader.dataset has another void label'),
        (INRIA, {'val_dataloader.dataset': dict(type='CelebAMaskHQDataset', one_face=True)},
         'val_dataloader.dataset.one_face joins all parts'),
        (SHAPES, {'randomness.seed': float('inf')}, 'randomness has a value that no config file'),
    ],
)  # fmt: skip
def test_what_has_no_stock_form_is_a_sentence_that_names_the_key(path, changes, words):
    with pytest.raises(ValueError, match=words):
        stock_of(path, **changes)


def test_the_best_checkpoint_by_a_stock_metric_stays():
    stock = stock_of(SHAPES, **{'default_hooks.checkpoint.save_best': 'mIoU'})
    assert stock.default_hooks.checkpoint.save_best == 'mIoU'


def test_data_sets_that_our_converters_make():
    stock = stock_of(INRIA).train_dataloader.dataset
    assert (stock.type, stock.img_suffix, stock.seg_map_suffix) == (
        'BaseSegDataset',
        '.png',
        '.png',
    )
    assert stock.metainfo.classes == ('background', 'building')
    parts = dict(type='CelebAMaskHQDataset', data_root='faces', ann_file='train.txt')
    stock = stock_of(INRIA, **{'train_dataloader.dataset': parts}).train_dataloader.dataset
    assert (stock.type, stock.img_suffix, stock.ann_file) == ('BaseSegDataset', '.jpg', 'train.txt')
    assert len(stock.metainfo.classes) == 19


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """Two frames with unlabelled pixels, in JPEG as copies have them."""
    rng = np.random.default_rng(0)
    for folder, suffix, highest in (('val', 'jpg', 255), ('valannot', 'png', 11)):
        (tmp_path / folder).mkdir()
        for name in ('a_1', 'a_2'):
            shape = (360, 480, 3) if suffix == 'jpg' else (360, 480)
            pixels = rng.integers(0, highest + 1, shape, np.uint8)
            assert cv2.imwrite(str(tmp_path / folder / f'{name}.{suffix}'), pixels)
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    return tmp_path


def test_camvids_unlabelled_pixels_stay_void(camvid):
    """They are 11 in the files, which our data set maps to 255. Both metrics count the same."""
    register_all_modules()
    ours = Config.fromfile(CAMVID)
    stock = stock_of(CAMVID, **{'val_dataloader.dataset.img_suffix': '.jpg'})
    assert stock.train_dataloader.dataset.img_suffix == '.png'
    assert stock_of(CAMVID).val_dataloader.dataset.img_suffix == '.jpg'
    heads = stock.model.decode_head, stock.model.auxiliary_head
    assert {head.ignore_index for head in heads} == {11}
    assert stock.model.data_preprocessor.seg_pad_val == 11
    assert stock.train_dataloader.dataset.pipeline[3].ignore_index == 11
    assert stock.val_dataloader.dataset.type == 'BaseSegDataset'

    data = [DATASETS.build(each.val_dataloader.dataset) for each in (ours, stock)]
    assert len(data[0]) == len(data[1]) == 2
    assert data[0].metainfo['classes'] == data[1].metainfo['classes']
    metrics = [METRICS.build(each.val_evaluator) for each in (ours, stock)]
    for metric, dataset in zip(metrics, data):
        metric.dataset_meta = dataset.metainfo
    rng = torch.Generator().manual_seed(0)
    for first, second in zip(*data):
        labels = [each['data_samples'].gt_sem_seg.data for each in (first, second)]
        assert labels[0].eq(255).any() and labels[0].eq(255).equal(labels[1].eq(11))
        assert labels[0].clamp(max=11).equal(labels[1].to(labels[0].dtype))
        assert first['inputs'].equal(second['inputs'])
        pred = torch.randint(11, labels[0].shape, generator=rng)
        for metric, label in zip(metrics, labels):
            each = dict(pred_sem_seg=dict(data=pred), gt_sem_seg=dict(data=label), img_path='')
            metric.process({}, [each])
    found = [metric.evaluate(2) for metric in metrics]
    assert found[1]['mIoU'] == pytest.approx(found[0]['mIoU'], abs=0.01)


def test_drawn_shapes_become_files(tmp_path, monkeypatch):
    """Which the page of configs says how to write."""
    register_all_modules()
    stock = stock_of(SHAPES, **{'val_dataloader.dataset.length': 3})
    dataset = stock.val_dataloader.dataset
    assert (dataset.type, dataset.indices) == ('BaseSegDataset', 3)
    code = (ROOT / 'docs/configs.md').read_text().partition('```text\nfrom mmengine.fileio')[2]
    monkeypatch.chdir(tmp_path)
    code = code.partition('```')[0].replace("'pspnet_epl_shapes'", repr('short'))
    (tmp_path / 'short.py').write_text(
        f"_base_ = '{SHAPES}'\n"
        'train_dataloader = dict(dataset=dict(length=2))\n'
        'val_dataloader = test_dataloader = dict(dataset=dict(length=3))\n'
    )
    monkeypatch.setattr(of_config, 'path', lambda name: str(tmp_path / f'{name}.py'))
    exec(compile(f'from mmengine.fileio{code}', 'configs.md', 'exec'), {})
    theirs = DATASETS.build(dataset)
    ours = DATASETS.build(Config.fromfile(tmp_path / 'short.py').val_dataloader.dataset)
    assert len(theirs) == len(ours) == 3 and theirs.metainfo['classes'] == ours.metainfo['classes']
    for first, second in zip(ours, theirs):
        assert first['inputs'].equal(second['inputs'])
        assert first['data_samples'].gt_sem_seg.data.equal(second['data_samples'].gt_sem_seg.data)


def test_a_config_by_package_loses_our_scope(tmp_path):
    """`_base_ = ['mmseg_boundary::…']` puts it into each type."""
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = ['{SHAPES}']\nmodel = dict(_scope_='mmseg_boundary')\n")
    stock = stock_of(mine)
    assert '_scope_' not in str(stock.to_dict())
    stock = stock_of(mine, default_scope='mmdet')
    assert stock.model['_scope_'] == 'mmseg' and stock.default_scope == 'mmdet'
    assert stock_of(mine, default_scope='mmseg_boundary').default_scope == 'mmseg'


def test_all_of_a_runner_is_built_here_too(tmp_path):
    """So that the check in the other process is one that fails on what MMSegmentation lacks."""
    register_all_modules()
    with pytest.raises(AssertionError, match='ShapesDataset'):
        build_all(Config.fromfile(SHAPES))
    build_all(stock_of(SHAPES))

"""tools/test.py and dist_test.sh as real processes."""

import importlib.util
import json
import shutil
import sys
import time

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import METRICS
from PIL import Image

from mmseg_boundary.registered.datasets.shapes import ShapesDataset, draw
from tests.support.commands import MMSEG_TOOLS, ROOT, SHAPES, TINY, attempt, free_port, run
from tests.support.logs import metrics, scalars
from tests.support.small_run import evaluate as evaluate_here
from tests.support.small_run import write_config, write_data, write_unknown

TEST = ROOT / 'tools/test.py'


@pytest.fixture(scope='module')
def tested(trained, tmp_path_factory):
    """The work folder of an evaluation that writes its predictions."""
    folder = tmp_path_factory.mktemp('tested')
    outputs = ['--out', folder / 'out', '--json', folder / 'numbers.json']
    outputs += ['--per-image', folder / 'images.npz']
    evaluate(trained, folder, *outputs, '--show-dir', folder / 'show')
    return folder


def evaluate(trained, folder, *arguments, options=()):
    return run(
        sys.executable,
        TEST,
        SHAPES,
        trained / 'iter_4.pth',
        '--work-dir',
        folder,
        *arguments,
        '--cfg-options',
        *TINY,
        *options,
    )


def test_it_evaluates_the_checkpoint_of_the_run(trained, tested):
    assert metrics(tested)['mIoU'] == scalars(trained)[-1]['mIoU']
    assert metrics(tested)['mBoundaryF_3px'] == scalars(trained)[-1]['mBoundaryF_3px']


def test_json_holds_the_means_and_the_scores_per_class(tested):
    report = json.loads((tested / 'numbers.json').read_text())
    assert report['metrics'] == metrics(tested)
    (evaluator,) = report['evaluators']
    assert evaluator['classes'][0] == 'ground' and evaluator['images'][0] == 5
    for key in ('IoU', 'BoundaryIoU', 'BoundaryF_3px', 'TrimapIoU_15px'):
        seen = [score for score in evaluator['per_class'][key] if score is not None]
        assert sum(seen) / len(seen) == pytest.approx(report['metrics'][f'm{key}'])


def test_the_scores_come_out_of_the_images(tested):
    """By sums and means of NumPy, from the file alone, to what the table shows and beyond."""
    report = json.loads((tested / 'numbers.json').read_text())['evaluators'][0]['per_class']
    images = dict(np.load(tested / 'images.npz'))
    assert images['names'].tolist() == [f'{index:06}' for index in range(5)]
    assert images['label'].shape == (5, 6) and (images['label'].sum(1) <= 128 * 128).all()
    with np.errstate(invalid='ignore'):
        found = {'IoU': images['intersection'].sum(0) / images['union'].sum(0)}
        found['Acc'] = images['intersection'].sum(0) / images['label'].sum(0)
        for key, name in (('boundary_iou', 'BoundaryIoU'), ('trimap_iou', 'TrimapIoU')):
            for place, width in enumerate(images['widths']):
                both, either = images[key][:, :, place].sum(0).T
                found[f'{name}_{width}px'] = both / either
        both, either = images['boundary_iou_at_ratio'].sum(0).T
        found['BoundaryIoU'] = both / either
    for place, width in enumerate(images['widths']):
        f = images['boundary_f'][:, :, place]
        known = ~np.isnan(f)
        sums, counts = np.where(known, f, 0).sum(0), known.sum(0)
        means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        found[f'BoundaryF_{width}px'] = means
    assert found.keys() == report.keys()
    for key, scores in found.items():
        expected = [np.nan if score is None else score for score in report[key]]
        assert (100 * scores).tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True), key


def test_per_image_needs_a_metric_that_counts(tmp_path):
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    plain = 'test_evaluator.type=IoUMetric'
    said = evaluate_here(tmp_path, plain, flags=['--per-image', tmp_path / 'images.npz'])
    assert said == '--per-image needs a BoundaryMetric among the evaluators: add --boundary.'


def test_out_keeps_the_predictions_as_label_images(tested):
    names = sorted(path.name for path in (tested / 'out').iterdir())
    assert names == [f'{index:06}.png' for index in range(5)]
    labels = np.asarray(Image.open(tested / 'out/000000.png'))
    assert labels.shape == (128, 128) and labels.max() < 6


def test_out_with_a_list_of_evaluators(trained, tested, tmp_path):
    """The first that can writes; MMSeg's own tool ends with a TypeError here."""
    config = tmp_path / 'two_evaluators.py'
    config.write_text(
        f"_base_ = ['{SHAPES}']\n"
        "test_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'], prefix='a'),\n"
        "                  dict(type='IoUMetric', iou_metrics=['mDice'], prefix='b')]\n"
    )
    run(
        sys.executable,
        TEST,
        config,
        trained / 'iter_4.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'out',
        '--cfg-options',
        *TINY,
        'test_dataloader.dataset.length=3',
    )
    assert len(list((tmp_path / 'out').iterdir())) == 3
    assert {'a/mIoU', 'b/mDice'} <= set(metrics(tmp_path))


def test_out_without_an_evaluator_that_writes(trained, tmp_path):
    done = attempt(
        sys.executable,
        TEST,
        SHAPES,
        trained / 'iter_4.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'out',
        '--cfg-options',
        'test_evaluator.type=DepthMetric',
    )
    assert done.returncode == 1 and 'Traceback' not in done.stdout
    assert '--out needs an IoUMetric among the evaluators' in done.stdout


def test_tta_and_painted_predictions_without_image_files(trained, tmp_path):
    evaluate(
        trained,
        tmp_path,
        '--tta',
        '--show-dir',
        tmp_path / 'show',
        options=['test_dataloader.dataset.length=2', 'default_hooks.visualization.interval=1'],
    )
    assert list(tmp_path.glob('show/**/*.png'))
    assert 0 <= metrics(tmp_path)['mIoU'] <= 100


def test_two_ranks_count_what_one_counts(trained, tested, tmp_path):
    """Five images: one of the ranks gets a repeated one, which must not count. Both write label
    images and figures, and nothing is left over, in the current folder neither."""
    here = tmp_path / 'here'
    here.mkdir()
    run(
        'bash',
        ROOT / 'tools/dist_test.sh',
        SHAPES,
        trained / 'iter_4.pth',
        2,
        '--work-dir',
        tmp_path,
        '--json',
        tmp_path / 'numbers.json',
        '--out',
        tmp_path / 'out',
        '--show-dir',
        tmp_path / 'show',
        '--cfg-options',
        *TINY,
        cwd=here,
        PORT=free_port(),
    )
    assert not list(here.iterdir()) and not list(tmp_path.rglob('*.part*'))
    for place, count in (('out', 5), ('show/vis_data/vis_image', 5)):
        files = {path.name: path.read_bytes() for path in (tested / place).iterdir()}
        assert len(files) == count
        assert files == {path.name: path.read_bytes() for path in (tmp_path / place).iterdir()}
    ours, theirs = (json.loads((at / 'numbers.json').read_text()) for at in (tmp_path, tested))
    assert ours['metrics'] == theirs['metrics']
    assert ours['evaluators'] == theirs['evaluators']


def test_two_ranks_say_once_that_a_checkpoint_is_of_another_net(trained, tmp_path):
    done = attempt(
        'bash', ROOT / 'tools/dist_test.sh', SHAPES, trained / 'iter_4.pth', 2, '--work-dir',
        tmp_path, '--cfg-options', *TINY, 'model.decode_head.channels=32', PORT=free_port(),
    )  # fmt: skip
    assert done.returncode != 0 and done.stdout.count('(it says: of pspnet_epl_shapes)') == 1


def test_labels_of_no_class_may_count_as_wrong(trained, tmp_path):
    """In this process; without the option test_errors has the sentence."""
    shutil.copy(trained / 'iter_4.pth', tmp_path / 'good.pth')
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    write_unknown(tmp_path, 11)
    assert evaluate_here(tmp_path, 'test_evaluator.unknown_labels=wrong') is None
    numbers = json.loads((tmp_path / 'out.json').read_text())['metrics']
    assert 0 <= numbers['mIoU'] < 100


def test_labels_of_no_class_on_one_of_two_ranks(trained, tmp_path):
    """The rank that sees them says so, and the other does not wait for it for ever."""
    write_data(tmp_path / 'data', 'abcd')
    write_config(tmp_path)
    write_unknown(tmp_path, 11)  # the second image: of the second rank
    start = time.monotonic()
    done = attempt(
        'bash',
        ROOT / 'tools/dist_test.sh',
        tmp_path / 'config.py',
        trained / 'iter_4.pth',
        2,
        '--work-dir',
        tmp_path / 'work',
        '--json',
        tmp_path / 'numbers.json',
        PORT=free_port(),
    )
    assert done.returncode != 0 and 'ValueError' not in done.stdout
    assert done.stdout.count('b.png holds [11], but the metric knows 6 classes') == 1
    assert time.monotonic() - start < 120  # gloo would wait for 30 minutes
    assert not (tmp_path / 'numbers.json').exists()


# --- Any config and checkpoint --------------------------------------------------------------------


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """Images on disk, a config that knows nothing of us, and what MMSeg's own tools made of it."""
    folder = tmp_path_factory.mktemp('stock')
    for index in range(3):
        image, label = draw(1, index, 96, 128)
        for place, pixels in (('images', image[..., ::-1]), ('labels', label)):
            (folder / place).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / place / f'{index}.png'), pixels)
    bases = MMSEG_TOOLS.parent / 'configs/_base_'
    (folder / 'stock.py').write_text(f"""
_base_ = ['{bases}/models/pspnet_r50-d8.py', '{bases}/default_runtime.py']
preprocessor = dict(size=(96, 128))
model = dict(
    pretrained=None,
    data_preprocessor=preprocessor,
    backbone=dict(depth=18, stem_channels=16, base_channels=16),
    decode_head=dict(in_channels=128, channels=16, num_classes=6),
    auxiliary_head=dict(in_channels=64, channels=16, num_classes=6),
)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root='{folder}',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes={ShapesDataset.METAINFO['classes']}),
        pipeline=load,
    ),
)
train_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=test_dataloader['dataset'],
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=12, val_interval=100)
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=12))
""")
    config, checkpoint = folder / 'stock.py', folder / 'train/iter_12.pth'
    run(sys.executable, MMSEG_TOOLS / 'train.py', config, '--work-dir', folder / 'train')
    run(
        sys.executable,
        MMSEG_TOOLS / 'test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        # what users of the frozen stack set, which cannot read its own checkpoints otherwise; our
        # tools, where this process has run one, set the contrary
        TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1',
        TORCH_FORCE_WEIGHTS_ONLY_LOAD='0',
    )
    return folder


def test_boundary_of_a_stock_config(stock, tmp_path):
    report = stock_report(stock, stock / 'stock.py', tmp_path)
    theirs = metrics(stock / 'test')
    assert theirs['mIoU'] > 1
    for key, value in theirs.items():
        assert f'{report["metrics"][key]:.2f}' == f'{value:.2f}', key
    assert 0 < report['metrics']['mBoundaryF_3px'] < 100
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['0.png', '1.png', '2.png']


def test_boundary_of_a_stock_config_with_a_list_of_evaluators(stock, tmp_path):
    """The first IoUMetric counts the boundaries; the rest stays what it was."""
    config = tmp_path / 'list.py'
    config.write_text(
        f"_base_ = ['{stock}/stock.py']\n"
        "test_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'], prefix='a',\n"
        "                       classwise=True, widths=[1, 0.03], trimap_mode='deeplab'),\n"
        "                  dict(type='IoUMetric', iou_metrics=['mDice'], prefix='b')]\n"
    )
    report = stock_report(stock, config, tmp_path)
    theirs = metrics(stock / 'test')
    assert f'{report["metrics"]["a/mIoU"]:.2f}' == f'{theirs["mIoU"]:.2f}'
    assert report['metrics']['b/mDice'] == theirs['mDice']
    assert 'a/mTrimapIoU_1px' in report['metrics'] and 'b/mTrimapIoU_1px' not in report['metrics']
    (evaluator,) = report['evaluators']
    assert evaluator['prefix'] == 'a' and evaluator['trimap_mode'] == 'deeplab'
    assert evaluator['widths'] == [1, 0.03] and 0 < report['metrics']['a/mBoundaryF_0.03d'] < 100
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert log.read_text().count('--boundary drops classwise of the IoUMetric') == 1


def stock_report(stock, config, folder):
    run(
        sys.executable,
        TEST,
        config,
        stock / 'train/iter_12.pth',
        '--boundary',
        '--json',
        folder / 'numbers.json',
        '--out',
        folder / 'out',
        '--work-dir',
        folder / 'work',
    )
    return json.loads((folder / 'numbers.json').read_text())


# --- What becomes of the config -------------------------------------------------------------------


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('tool_under_test', TEST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_with(evaluator, dataset='CityscapesDataset'):
    return Config(dict(test_evaluator=evaluator, test_dataloader=dict(dataset=dict(type=dataset))))


def test_settings_of_the_boundary_metrics_come_through(tool):
    config = config_with(dict(type='IoUMetric', prefix='x', void_is_boundary=True))
    tool.add_boundary_metrics(config)
    assert config.test_evaluator == dict(type='BoundaryMetric', prefix='x', void_is_boundary=True)


@pytest.mark.parametrize('as_list', [False, True])
def test_arguments_that_iou_metric_swallows_are_named_and_dropped(tool, as_list, tmp_path):
    """What is left builds, and one warning names them all."""
    given = dict(type='IoUMetric', _scope_='mmseg', classwise=True, iou_metrics=['mDice'], fuse='x')
    METRICS.build(dict(given))
    config = config_with([given, dict(type='IoUMetric', classwise=True)] if as_list else given)
    assert tool.add_boundary_metrics(config) == ['classwise', 'fuse']
    (evaluator, *others) = tool.evaluators_of(config)
    kept = dict(type='BoundaryMetric', _scope_='mmseg', iou_metrics=['mDice'])
    assert evaluator == dict(kept, void_is_boundary=False)
    assert METRICS.build(dict(evaluator)).metrics == ['mDice']
    assert others == [dict(type='IoUMetric', classwise=True)] * as_list
    logger = MMLogger.get_instance(f'dropped {as_list}', log_file=str(tmp_path / 'log'))
    tool.warn_of(['classwise', 'fuse'])
    for handler in logger.handlers:
        handler.close()
    (said,) = (tmp_path / 'log').read_text().splitlines()
    assert 'WARNING' in said and '--boundary drops classwise, fuse of the IoUMetric' in said


def test_nothing_is_dropped_that_boundary_metric_knows(tool):
    known = dict(widths=[0.008], keep_results=True, trimap_mode='deeplab', nan_to_num=0)
    config = config_with(dict(type='IoUMetric', **known), 'PascalVOCDataset')
    assert tool.add_boundary_metrics(config) == []
    # VOC's choice for the other mode is not made for this one, which would refuse it
    assert config.test_evaluator == dict(type='BoundaryMetric', **known)
    assert METRICS.build(config.test_evaluator.to_dict()).trimap_mode == 'deeplab'


@pytest.mark.parametrize('given', [None, False])
def test_void_bounds_in_voc_unless_told_otherwise(tool, given):
    evaluator = dict(type='IoUMetric')
    if given is not None:
        evaluator['void_is_boundary'] = given
    config = config_with(evaluator, 'PascalVOCDataset')
    tool.add_boundary_metrics(config)
    assert config.test_evaluator.void_is_boundary is (given is None)


@pytest.mark.parametrize('as_list', [False, True])
def test_other_evaluators_get_one_beside_them(tool, as_list):
    other = dict(type='DepthMetric')
    config = config_with([other] if as_list else other)
    tool.add_boundary_metrics(config)
    boundary = dict(type='BoundaryMetric', prefix='boundary', void_is_boundary=False)
    assert config.test_evaluator == [other, boundary]
    tool.add_boundary_metrics(config)
    assert len(config.test_evaluator) == 2


def test_tta_is_right_for_one_logit_too(tool):
    config = Config.fromfile(SHAPES)
    model = config.model.to_dict()
    tool.use_test_time_augmentation(config)
    assert config.model.type == 'BoundarySegTTAModel' and config.model.module.to_dict() == model
    config = Config.fromfile(SHAPES)
    config.tta_model = dict(type='MyTTAModel')
    tool.use_test_time_augmentation(config)
    assert config.model.type == 'MyTTAModel'
    config.pop('tta_pipeline')
    with pytest.raises(SystemExit, match='--tta needs a `tta_pipeline`'):
        tool.use_test_time_augmentation(config)


@pytest.mark.parametrize(
    'dataset, drawn',
    [
        (dict(type='PascalVOCDataset'), True),
        (dict(type='mmseg.PascalVOCDataset'), True),
        (dict(type='ConcatDataset', datasets=[dict(type='PascalVOCDataset')]), True),
        (dict(type='RepeatDataset', dataset=dict(type='CityscapesDataset'), times=2), False),
    ],
)
def test_voc_is_known_under_every_name(tool, dataset, drawn):
    config = config_with(dict(type='IoUMetric'))
    config.test_dataloader.dataset = dataset
    tool.add_boundary_metrics(config)
    assert config.test_evaluator.void_is_boundary is drawn

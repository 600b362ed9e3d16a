"""tools/test.py and dist_test.sh as real processes."""

import sys

import numpy as np
import pytest
from commands import ROOT, SHAPES, TINY, attempt, free_port, run
from logs import metrics, scalars
from PIL import Image

TEST = ROOT / 'tools/test.py'


@pytest.fixture(scope='module')
def tested(trained, tmp_path_factory):
    """The work folder of an evaluation that writes its predictions."""
    folder = tmp_path_factory.mktemp('tested')
    evaluate(trained, folder, '--out', folder / 'out')
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
    """Five images: one of the ranks gets a repeated one, which must not count."""
    run(
        'bash',
        ROOT / 'tools/dist_test.sh',
        SHAPES,
        trained / 'iter_4.pth',
        2,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *TINY,
        PORT=free_port(),
    )
    assert metrics(tmp_path)['mIoU'] == metrics(tested)['mIoU']

"""LossWeightSchedule in real runs: what is trained with, what is logged, and across a resume."""

import pytest

from tests.support.commands import (
    MMSEG_TOOLS,
    ROOT,
    SHAPES,
    SWITCH,
    TINY,
    attempt,
    free_port,
    run,
    train,
)
from tests.support.logs import losses, scalars

DIST_TRAIN = ROOT / 'tools/dist_train.sh'
SCHEDULE = """
custom_hooks = [dict(type='LossWeightSchedule', interval={interval!r}, schedules=[
    dict(loss='decode.loss_ce', kind='rebalance', step=0.25, floor=0.3),
    dict(loss='decode.loss_epl', kind='increase', start=0.5, step=0.25)])]
"""
FIVE_IMAGES = 'train_dataloader.dataset.length=5'


def scheduled(folder, interval, more=''):
    """A config of its own: a list of dicts does not fit on a command line."""
    config = folder / f'scheduled_{interval}.py'
    config.write_text(f"_base_ = ['{SHAPES}']{SCHEDULE.format(interval=interval)}{more}")
    return config


def weights(work_dir):
    """{iteration: (regional, boundary)} of the newest run."""
    return {
        line['step']: (line['decode.weight_ce'], line['decode.weight_epl'])
        for line in scalars(work_dir)
        if 'loss' in line
    }


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp('unbroken')
    train(folder, config=scheduled(folder, 1))
    return folder


def test_it_trains_with_the_weights_that_it_logs(unbroken, trained):
    """The first step is that of the run without a schedule but for the weights."""
    assert weights(unbroken) == {1: (1, 0.5), 2: (0.75, 0.75), 3: (0.5, 1), 4: (0.3, 1)}
    first, plain = losses(unbroken)[1], losses(trained)[1]
    assert first['decode.loss_epl'] == pytest.approx(0.5 * plain['decode.loss_epl'], rel=1e-4)
    for key in ('decode.loss_ce', 'aux.loss_ce'):
        assert first[key] == pytest.approx(plain[key], rel=1e-4)


def test_a_resumed_run_has_the_weights_of_the_unbroken_one(unbroken, tmp_path):
    """From the first iteration on, with MMSeg's own tool; the losses agree only if it trains with
    them."""
    (tmp_path / 'last_checkpoint').write_text(str(unbroken / 'iter_2.pth'))
    config = scheduled(tmp_path, 1)
    train(tmp_path, '--resume', config=config, tool=MMSEG_TOOLS / 'train.py', **SWITCH)
    expected = weights(unbroken)
    assert weights(tmp_path) == {3: expected[3], 4: expected[4]}
    for step, values in losses(tmp_path).items():
        assert values == pytest.approx(losses(unbroken)[step], rel=1e-5)


def test_an_epoch_counts_the_images_of_all_ranks(tmp_path):
    """Five images in batches of two: three iterations on one rank, two on two; also where the
    optimizer steps at every other iteration."""
    config = scheduled(tmp_path, 'epoch')
    accumulate = 'optim_wrapper.accumulative_counts=2'
    train(tmp_path / 'one', config=config, options=[FIVE_IMAGES, accumulate])
    assert [regional for regional, _ in weights(tmp_path / 'one').values()] == [1, 1, 1, 0.75]
    run(
        *('bash', DIST_TRAIN, config, 2, '--work-dir', tmp_path / 'two'),
        *('--cfg-options', *TINY, FIVE_IMAGES, 'train_cfg.val_interval=10'),
        PORT=free_port(),
    )
    assert [regional for regional, _ in weights(tmp_path / 'two').values()] == [1, 1, 0.75, 0.75]


def test_an_epoch_based_run_counts_its_own(tmp_path):
    """Three iterations each, also where the run resumes after the first."""
    config = scheduled(
        tmp_path,
        'epoch',
        """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(_delete_=True, type='CheckpointHook', interval=1))
train_dataloader = dict(sampler=dict(type='DefaultSampler'))
""",
    )
    stock_loop = ('train_cfg.', 'default_hooks.checkpoint')
    options = [option for option in TINY if not option.startswith(stock_loop)]
    options.append('train_dataloader.dataset.length=6')

    def trains(folder, *arguments):
        command = ('python', 'tools/train.py', config, '--work-dir', folder, *arguments)
        run(*command, '--cfg-options', *options)
        return [regional for regional, _ in weights(folder).values()]

    assert trains(tmp_path / 'unbroken') == [1, 1, 1, 0.75, 0.75, 0.75]
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'unbroken/epoch_1.pth'))
    assert trains(tmp_path, '--resume') == [0.75, 0.75, 0.75]


def test_a_wrong_key_ends_the_run_with_those_that_exist(tmp_path):
    config = tmp_path / 'wrong.py'
    hook = "dict(type='LossWeightSchedule', schedules=[dict(loss='loss_ce', kind='constant')])"
    config.write_text(f"_base_ = ['{SHAPES}']\ncustom_hooks = [{hook}]\n")
    done = attempt(
        *('python', 'tools/train.py', config, '--work-dir', tmp_path, '--cfg-options', *TINY)
    )
    assert done.returncode != 0
    assert "choose one of 'decode.loss_ce', 'aux.loss_ce'" in done.stdout

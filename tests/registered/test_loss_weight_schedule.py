"""LossWeightSchedule on MMSegmentation's own segmentors, called as the runner calls it."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.log_processor import LogProcessor
from mmseg.registry import HOOKS, MODELS
from mmseg.utils import register_all_modules
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from mmseg_boundary import stacks
from mmseg_boundary.registered import loss_weight_schedule
from mmseg_boundary.registered.model_losses import losses_of
from tests.support.skips import NO_OPERATORS

KERVADEC = [
    dict(loss='decode.loss_ce', kind='rebalance'),
    dict(loss='decode.loss_epl', kind='increase'),
]
KEYS = ('decode.loss_ce', 'decode.loss_epl', 'aux.loss_ce')


def segmentor(decode=None, auxiliary=None, **changes):
    """An FCN whose auxiliary head has a cross-entropy of the decode head's name."""
    register_all_modules()
    decode = decode or [dict(type='CrossEntropyLoss'), dict(type='EPLLoss', loss_weight=0.5)]
    auxiliary = auxiliary or dict(type='CrossEntropyLoss', loss_weight=0.4)
    stock = dict(
        type='EncoderDecoder',
        backbone=dict(type='ResNet', depth=18, stem_channels=2, base_channels=2),
        decode_head=head(decode),
        auxiliary_head=head(auxiliary),
    )
    return MODELS.build(ConfigDict(stock | changes))


def head(loss_decode, kind='FCNHead', **changes):
    stock = dict(
        type=kind, in_channels=16, channels=4, num_classes=3, in_index=3, loss_decode=loss_decode
    )
    return stock | changes


def run_of(model, loop=IterBasedTrainLoop, images=10, batch_size=4, **loader):
    """What the hook sees of MMEngine's runner."""
    return SimpleNamespace(
        model=model,
        iter=0,
        epoch=0,
        train_loop=loop.__new__(loop),
        train_dataloader=DataLoader(range(images), **(loader or dict(batch_size=batch_size))),
        message_hub=MessageHub('tested'),
    )


def hook(schedules=KERVADEC, **arguments):
    return HOOKS.build(dict(type='LossWeightSchedule', schedules=schedules, **arguments))


def weights_at(schedule, runner, iteration, epoch=0):
    """{log key: the weight that this iteration trains with}."""
    runner.iter, runner.epoch = iteration, epoch
    schedule.before_train_iter(runner, 0, None)
    return {entry.key: entry.loss.loss_weight for entry in losses_of(runner.model)}


@pytest.mark.parametrize(
    'epoch, regional, boundary',
    [(0, 1, 0.01), (1, 0.99, 0.02), (49, 0.51, 0.5), (95, 0.1, 0.96), (99, 0.1, 1), (300, 0.1, 1)],
)
def test_the_authors_rebalancing(epoch, regional, boundary):
    """Of the configured weights, 1 and 0.5. The auxiliary head keeps its own."""
    runner, schedule = run_of(segmentor()), hook(interval=5)
    schedule.before_train(runner)
    expected = dict(zip(KEYS, (regional, 0.5 * boundary, 0.4)))
    assert weights_at(schedule, runner, 5 * epoch) == pytest.approx(expected)
    assert weights_at(schedule, runner, 5 * epoch + 4) == pytest.approx(expected)


def test_every_number_counts():
    schedules = [
        dict(loss='decode.loss_ce', kind='rebalance', step=0.2, floor=0.3),
        dict(loss='decode.loss_epl', kind='increase', start=0.1, step=0.3, stop=0.8),
        dict(loss='aux.loss_ce', kind='constant'),
    ]
    runner, schedule = run_of(segmentor()), hook(schedules, interval=1)
    schedule.before_train(runner)
    table = [tuple(weights_at(schedule, runner, e).values()) for e in range(5)]
    assert table == [
        pytest.approx(row)
        for row in [
            (1.0, 0.05, 0.4),
            (0.8, 0.20, 0.4),
            (0.6, 0.35, 0.4),
            (0.4, 0.40, 0.4),
            (0.3, 0.40, 0.4),
        ]
    ]


def test_the_weight_follows_from_the_iteration_alone():
    """Backwards, twice, or first seen in the middle, as after a resume."""
    runner, schedule = run_of(segmentor()), hook(interval=2)
    schedule.before_train(runner)
    forwards = [weights_at(schedule, runner, step) for step in range(9)]
    assert [weights_at(schedule, runner, step) for step in reversed(range(9))] == forwards[::-1]
    resumed, again = run_of(segmentor()), hook(interval=2)
    again.before_train(resumed)
    assert weights_at(again, resumed, 8) == forwards[8]


def test_the_loss_is_scaled_by_the_weight():
    model = segmentor()
    runner, schedule = run_of(model), hook(interval=1)
    schedule.before_train(runner)
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(3, (2, 9, 9))
    ce, epl = (MODELS.build(dict(type=name)) for name in ('CrossEntropyLoss', 'EPLLoss'))
    weights_at(schedule, runner, 30)
    scaled_ce, scaled_epl = (loss(logits, labels) for loss in model.decode_head.loss_decode)
    torch.testing.assert_close(scaled_ce, 0.7 * ce(logits, labels))
    torch.testing.assert_close(scaled_epl, 0.5 * 0.31 * epl(logits, labels))


def test_the_end_leaves_the_configured_weights():
    runner, schedule = run_of(segmentor()), hook(interval=1)
    for _ in range(2):
        schedule.before_train(runner)
        assert weights_at(schedule, runner, 10)['decode.loss_ce'] == pytest.approx(0.9)
        schedule.after_train(runner)
        assert runner.model.decode_head.loss_decode[0].loss_weight == 1


def test_the_log_has_the_weights_under_names_that_mmengine_leaves_alone():
    runner, schedule = run_of(segmentor()), hook(interval=1)
    schedule.before_train(runner)
    for step in range(3):
        weights_at(schedule, runner, step)
    scalars = runner.message_hub.log_scalars
    assert set(scalars) == {'train/decode.weight_ce', 'train/decode.weight_epl'}
    averaged = LogProcessor().mean_pattern
    assert not any(re.match(averaged, key) for key in scalars)
    assert scalars['train/decode.weight_ce'].current() == pytest.approx(0.98)


@pytest.mark.parametrize(
    'images, batch_size, ranks, period',
    [(10, 4, 1, 3), (8, 4, 1, 2), (9, 2, 2, 3), (3, 4, 4, 1)],
)
def test_an_epoch_of_an_iteration_based_run(images, batch_size, ranks, period, monkeypatch):
    monkeypatch.setattr(loss_weight_schedule, 'get_world_size', lambda: ranks)
    runner, schedule = run_of(segmentor(), images=images, batch_size=batch_size), hook()
    schedule.before_train(runner)
    factors = [weights_at(schedule, runner, step)['decode.loss_ce'] for step in range(3 * period)]
    assert factors == pytest.approx([1] * period + [0.99] * period + [0.98] * period)


def test_an_epoch_of_a_batch_sampler():
    batches = BatchSampler(SequentialSampler(range(10)), 4, drop_last=False)
    runner, schedule = run_of(segmentor(), batch_sampler=batches), hook()
    schedule.before_train(runner)
    assert schedule.period == 3


def test_an_epoch_of_an_epoch_based_run_is_the_loops():
    """Its length is the loader's, which may drop the last batch."""
    runner, schedule = run_of(segmentor(), loop=EpochBasedTrainLoop), hook()
    schedule.before_train(runner)
    assert weights_at(schedule, runner, 1000, epoch=2)['decode.loss_ce'] == pytest.approx(0.98)
    by_iterations = hook(interval=100)
    by_iterations.before_train(run := run_of(segmentor(), loop=EpochBasedTrainLoop))
    assert weights_at(by_iterations, run, 1000, epoch=2)['decode.loss_ce'] == pytest.approx(0.9)


def test_cascades_and_several_auxiliary_heads_count_from_0():
    model = segmentor(
        type='CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[head(dict(type='CrossEntropyLoss', loss_name=f'loss_{n}')) for n in 'ab'],
        auxiliary_head=[head(dict(type='CrossEntropyLoss', loss_weight=w)) for w in (0.2, 0.4)],
    )
    keys = ['decode_0.loss_a', 'decode_1.loss_b', 'aux_0.loss_ce', 'aux_1.loss_ce']
    assert [entry.key for entry in losses_of(model)] == keys
    schedules = [
        dict(loss='aux_1.loss_ce', kind='rebalance', step=0.5, floor=0),
        dict(loss='loss_b', kind='rebalance', step=0.25),
    ]
    runner, schedule = run_of(model), hook(schedules, interval=1)
    schedule.before_train(runner)
    assert list(weights_at(schedule, runner, 1).values()) == pytest.approx([1, 0.75, 0.2, 0.2])


@pytest.mark.skipif(not stacks.has_compiled_operators(), reason=NO_OPERATORS)
def test_pointrend_logs_its_losses_under_a_name_of_its_own():
    points = head([dict(type='CrossEntropyLoss')], 'PointHead', in_channels=[16], in_index=[3])
    model = segmentor(
        type='CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[head([dict(type='CrossEntropyLoss')]), points],
    )
    keys = ['decode_0.loss_ce', 'decode_1.pointloss_ce', 'aux.loss_ce']
    assert [entry.key for entry in losses_of(model)] == keys


def test_a_bare_name_that_fits_one_loss():
    runner, schedule = run_of(segmentor()), hook([dict(loss='loss_epl', kind='increase')])
    schedule.before_train(runner)
    assert weights_at(schedule, runner, 0)['decode.loss_epl'] == pytest.approx(0.5 * 0.01)


@pytest.mark.parametrize(
    'schedules, words',
    [
        (
            [dict(loss='decode.loss_ec', kind='constant')],
            "No loss of this model is logged as 'decode.loss_ec'; choose one of 'decode.loss_ce', "
            "'decode.loss_epl', 'aux.loss_ce'",
        ),
        (
            [dict(loss='loss_ce', kind='constant')],
            "'loss_ce' is the name of several losses; choose one of 'decode.loss_ce', "
            "'aux.loss_ce'",
        ),
        (
            [dict(loss=name, kind='constant') for name in ('loss_epl', 'decode.loss_epl')],
            "schedules names 'decode.loss_epl' twice",
        ),
    ],
)
def test_a_wrong_key_ends_the_run_before_it_begins(schedules, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        hook(schedules).before_train(run_of(segmentor()))


def test_losses_that_share_a_key():
    """MMSegmentation logs their sum; which of them should move?"""
    runner = run_of(segmentor([dict(type='CrossEntropyLoss')] * 2))
    with pytest.raises(ValueError, match="2 losses share the key 'decode.loss_ce'.*`loss_name`"):
        hook(KERVADEC[:1]).before_train(runner)


def test_a_loss_without_a_weight():
    runner = run_of(segmentor())
    del runner.model.decode_head.loss_decode[0].loss_weight
    with pytest.raises(ValueError, match='CrossEntropyLoss, which has no `loss_weight` to move'):
        hook().before_train(runner)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize('loader', [dict(batch_size=2), dict(batch_size=None)])
def test_an_epoch_of_unknown_length(loader):
    runner = run_of(segmentor())
    runner.train_dataloader = DataLoader(Stream(), **loader)
    with pytest.raises(ValueError, match='give the number of iterations instead'):
        hook().before_train(runner)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(schedules=[]), 'schedules is []; give a list of dicts'),
        (dict(schedules=KERVADEC[0]), 'give a list of dicts, one per loss'),
        (dict(schedules=['decode.loss_ce']), 'give a list of dicts, one per loss'),
        (dict(interval=0), "interval is 0; give 'epoch' or a positive number of iterations"),
        (dict(interval=1.5), 'interval is 1.5; give'),
        (dict(interval='iter'), "interval is 'iter'; give"),
        (dict(schedules=[dict(kind='increase')]), "A schedule has loss=None; give the loss's key"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        hook(**arguments)


@pytest.mark.parametrize(
    'numbers, words',
    [
        (dict(), "kind of 'a' is None; choose one of 'constant', 'increase', 'rebalance'"),
        (dict(kind='linear'), "kind of 'a' is 'linear'; choose one of"),
        (dict(kind='constant', step=1), "'step' has no meaning for the kind 'constant' of 'a'"),
        (dict(kind='rebalance', start=1), "which takes 'step', 'floor': remove it"),
        (dict(kind='increase', floor=1), "which takes 'start', 'step', 'stop': remove it"),
        (dict(kind='increase', step=-0.1), "step of 'a' is -0.1; give a non-negative number"),
        (dict(kind='increase', stop='1'), "stop of 'a' is '1'; give a non-negative number"),
        (dict(kind='increase', start=2), "'a' starts above its stop"),
        (dict(kind='rebalance', floor=1.5), "floor of 'a' is 1.5"),
    ],
)
def test_wrong_numbers_are_named_at_once(numbers, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        hook([dict(loss='a', **numbers)])

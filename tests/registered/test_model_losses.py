"""What is found in stock networks whose heads are nested or call their losses by position, and what
is said of losses that are never called."""

import logging
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub, MMLogger
from mmseg.registry import HOOKS, MODELS
from torch import nn

from mmseg_boundary.registered import model_losses
from mmseg_boundary.registered.model_losses import LossCalls, UncalledLoss, find_loss, losses_of
from tests.support import nets

DDR_CALLS = (
    "DDRHead, logged as 'decode', calls loss_decode[0] (OhemCrossEntropy) and loss_decode[1] "
    '(OhemCrossEntropy) alone, so that loss_decode[2] (EPLLoss) would train nothing. Put EPLLoss '
    'in the place of one that is called, or add it to one: '
    "dict(type='LossSum', losses=[dict(type='OhemCrossEntropy', ...), dict(type='EPLLoss', ...)])."
)


def appended(name, *losses):
    """The net with losses at the end of its main head's list."""
    settings = nets.settings(name)
    head = settings.decode_head.get('kernel_generate_head', settings.decode_head)
    stock = head.loss_decode if isinstance(head.loss_decode, list) else [head.loss_decode]
    head.loss_decode = [*stock, *map(ConfigDict, losses)]
    return nets.build(settings)


def run_of(model):
    return SimpleNamespace(model=model, iter=0, epoch=0, message_hub=MessageHub('tested'))


def train(name, model, *hooks, iterations=1):
    """What the runner does with these hooks and this model; the values in the log."""
    runner = run_of(model)
    for hook in hooks:
        hook.before_train(runner)
    for runner.iter in range(iterations):
        for hook in hooks:
            hook.before_train_iter(runner, runner.iter)
        total, log = nets.step(model, name)
        total.backward()
        for hook in hooks:
            hook.after_train_iter(runner, runner.iter, None, log)
    return log


def check(**arguments):
    return HOOKS.build(dict(type='CheckFiniteLossHook', **arguments))


def schedule(*names):
    schedules = [dict(loss=name, kind='constant', start=0.25) for name in names]
    return HOOKS.build(dict(type='LossWeightSchedule', schedules=schedules, interval=1))


# --- What there is --------------------------------------------------------------------------------


@pytest.mark.parametrize('name', nets.CLASSES)
def test_the_keys_are_those_of_the_log(name):
    model = nets.build(nets.settings(name))
    calls = LossCalls(model)
    log = train(name, model, check(uncalled_loss='stop'))
    logged = [model_losses.without_stage(key) for key in log if '.loss' in key]
    assert list(dict.fromkeys(logged)) == [entry.key for entry in calls.entries]
    assert not calls.missed()


def test_all_stages_of_knet_have_one_weight():
    stock = train('knet', appended('knet', nets.EPL))
    assert [key for key in stock if 'epl' in key] == [f'decode.loss_epl.s{n}' for n in range(4)]
    hook, model = schedule('decode.loss_epl'), appended('knet', nets.EPL)
    moved = train('knet', model, hook, check(uncalled_loss='stop'))
    for key, value in stock.items():
        factor = 0.25 if 'epl' in key else 1
        if key != 'loss':
            torch.testing.assert_close(moved[key], factor * value)
    assert (
        find_loss(model, 'loss_epl').loss is model.decode_head.kernel_generate_head.loss_decode[1]
    )
    words = "'decode.loss_epl.s2' is one stage of a loss with one weight for all of them: name"
    with pytest.raises(ValueError, match=re.escape(words)):
        schedule('decode.loss_epl.s2').before_train(run_of(model))


def test_losses_in_a_sum_have_its_key_before_their_own():
    settings = nets.settings('ddrnet')
    losses = settings.decode_head.loss_decode
    held = [losses[1], nets.EPL, dict(type='LossSum', losses=[dict(type='BF1Loss')])]
    losses[1] = dict(type='LossSum', losses=held)
    model = nets.build(settings)
    keys = [entry.key.removeprefix('decode.') for entry in losses_of(model)]
    spatial = 'loss_spatial'
    assert keys == [
        'loss_context',
        spatial,
        f'{spatial}.loss_ohem',
        f'{spatial}.loss_epl',
        f'{spatial}.loss_sum',
        f'{spatial}.loss_sum.loss_bf1',
    ]
    for name in ('decode.loss_spatial.loss_epl', 'decode.loss_epl', 'loss_spatial.loss_epl'):
        assert find_loss(model, name).loss is model.decode_head.loss_decode[1].losses[1]
    assert find_loss(model, 'loss_spatial').loss is model.decode_head.loss_decode[1]
    for wrong in ('loss_spatial.decode', 'aux.loss_epl', 'loss_context.loss_epl', 'loss_ce'):
        with pytest.raises(ValueError, match=f'logged as {wrong!r}; choose one of'):
            find_loss(model, wrong)

    before = train('ddrnet', model)
    after = train('ddrnet', model, schedule('decode.loss_epl', 'decode.loss_sum.loss_bf1'))
    assert after['decode.loss_spatial'] < before['decode.loss_spatial']
    torch.testing.assert_close(after['decode.loss_context'], before['decode.loss_context'])


def test_a_loss_without_a_name():
    """Which a head that calls its losses by position does not ask for."""
    model = appended('ddrnet', nets.EPL)
    model.decode_head.loss_decode[1] = nn.CrossEntropyLoss(ignore_index=255)
    with pytest.raises(UncalledLoss, match=re.escape('loss_decode[1] (CrossEntropyLoss) alone')):
        train('ddrnet', model, check(uncalled_loss='stop'))
    model.decode_head.loss_decode.append(nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="choose one of 'decode.loss_context', 'decode.loss_spa"):
        find_loss(model, 'decode.CrossEntropyLoss')


def test_a_model_without_heads():
    runner, hook = run_of(nn.Linear(1, 1)), check(uncalled_loss='stop')
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, None, dict(loss=torch.tensor(1.0)))


def test_losses_of_ours_outside_of_loss_decode():
    settings = nets.settings('ddrnet')
    model = nets.build(settings)
    model.decode_head.extra = nn.ModuleDict({'epl': MODELS.build(dict(nets.EPL))})
    *_, entry = losses_of(model)
    assert (entry.place, entry.key) == ('extra.epl', 'decode.loss_epl')
    with pytest.raises(UncalledLoss, match=re.escape('so that extra.epl (EPLLoss) would train')):
        train('ddrnet', model, check(uncalled_loss='stop'))


# --- What is not called ---------------------------------------------------------------------------


def test_an_appended_loss_ends_training_after_the_first_iteration():
    with pytest.raises(UncalledLoss, match=f'^{re.escape(DDR_CALLS)}$'):
        train('ddrnet', appended('ddrnet', nets.EPL), check(uncalled_loss='stop'))
    words = 'loss_decode[2] (BoundaryLoss) and loss_decode[3] (OhemCrossEntropy) alone, so that '
    words += 'loss_decode[4] (BF1Loss) and loss_decode[5] (LossSum) would train nothing. Put'
    lost = dict(type='BF1Loss'), dict(type='LossSum', losses=[nets.EPL])
    with pytest.raises(UncalledLoss, match=re.escape(words)):
        train('pidnet', appended('pidnet', *lost), check(uncalled_loss='stop'))


def test_elsewhere_one_warning(caplog):
    logger = MMLogger.get_instance('elsewhere')
    logger.addHandler(caplog.handler)
    train('ddrnet', appended('ddrnet', nets.EPL), check(), iterations=3)
    warned = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.getMessage() for each in warned] == [DDR_CALLS]


def test_a_loss_of_mmsegmentations_is_its_users_affair():
    unused = dict(type='CrossEntropyLoss')
    train('ddrnet', appended('ddrnet', unused), check(uncalled_loss='stop'))


def test_a_loss_that_replaces_one_is_called():
    settings = nets.settings('ddrnet')
    settings.decode_head.loss_decode[1] = ConfigDict(nets.EPL)
    log = train('ddrnet', nets.build(settings), check(uncalled_loss='stop'))
    assert log['decode.loss_spatial'] > 0


def test_a_head_that_calls_none_of_its_losses():
    model = appended('knet')
    model.auxiliary_head.loss_decode = MODELS.build(dict(nets.EPL))
    model.auxiliary_head.loss = lambda *given: {}
    words = (
        "FCNHead, logged as 'aux', calls none of its losses, so that loss_decode (EPLLoss) would"
    )
    with pytest.raises(UncalledLoss, match=re.escape(words)):
        train('knet', model, check(uncalled_loss='stop'))


@pytest.mark.parametrize('kind', ['EPLLoss', 'CrossEntropyLoss'])
def test_a_schedule_for_a_loss_that_is_not_called(kind):
    """MMSegmentation's losses too: its weight would be logged."""
    model = appended('ddrnet', dict(type=kind, loss_name='loss_lost'))
    words = "schedules moves the weight of 'decode.loss_lost', which the first iteration did not "
    words += f'call. {DDR_CALLS.replace("EPLLoss", kind)}'
    with pytest.raises(UncalledLoss, match=f'^{re.escape(words)}$'):
        train('ddrnet', model, schedule('decode.loss_lost'))


def test_a_schedule_for_a_loss_in_a_sum_that_is_not_called():
    model = appended('ddrnet', dict(type='LossSum', losses=[nets.EPL]))
    words = "the weight of 'decode.loss_sum.loss_epl', which .* so that loss_decode.2. .LossSum. wo"
    with pytest.raises(UncalledLoss, match=words):
        train('ddrnet', model, schedule('loss_epl'))


def test_calls_before_training_do_not_count():
    """Those of a training before, with the same model: each training is checked by itself."""
    settings = nets.settings('ddrnet')
    settings.decode_head.loss_decode[1] = ConfigDict(nets.EPL)
    model = nets.build(settings)
    train('ddrnet', model, check(uncalled_loss='stop'))
    model.decode_head.loss_decode.insert(1, MODELS.build(dict(type='BF1Loss')))
    with pytest.raises(UncalledLoss, match=re.escape('loss_decode[2] (EPLLoss) would')):
        train('ddrnet', model, check(uncalled_loss='stop'))


def test_a_loss_that_one_rank_calls_is_called(monkeypatch):
    model = appended('ddrnet', nets.EPL)
    monkeypatch.setattr(model_losses, 'all_gather_object', lambda own: [own, [0, 0, 1]])
    train('ddrnet', model, check(uncalled_loss='stop'))
    monkeypatch.setattr(model_losses, 'all_gather_object', lambda own: [own, [1, 1, 0]])
    with pytest.raises(UncalledLoss):
        train('ddrnet', model, check(uncalled_loss='stop'))


def test_a_compiled_model_is_compiled_once():
    """Else checking its losses would cost minutes."""
    compilations = []

    def backend(graph, inputs):
        compilations.append(graph)
        return graph

    torch.manual_seed(0)
    head = nn.Module()
    head.loss_decode = nn.ModuleList(
        MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=True)) for _ in range(3)
    )
    model = nn.Module()
    model.decode_head = head
    logits, labels = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randint(3, (2, 8, 8))
    step = torch.compile(
        lambda: head.loss_decode[0](logits, labels) + head.loss_decode[1](logits, labels),
        backend=backend,
    )
    calls = LossCalls(model)
    step().backward()
    first = len(compilations)
    assert first and [entry.place for entry in calls.missed()] == ['loss_decode[2]']
    for _ in range(3):
        step().backward()
    assert len(compilations) == first


def test_another_word_for_what_to_do():
    with pytest.raises(ValueError, match="uncalled_loss is 'raise'; choose 'warn' or 'stop'"):
        check(uncalled_loss='raise')

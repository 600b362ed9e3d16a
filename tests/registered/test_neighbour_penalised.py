"""NeighbourPenalised around losses of ours and of MMSegmentation's, in the heads that call it."""

import ast
import copy
import inspect
import pickle
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, MODELS
from mmseg.utils import register_all_modules
from torch import nn

from mmseg_boundary.geometry import distance
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import SoftDiceLoss, decode_head_loss, neighbour_penalised
from mmseg_boundary.registered import NeighbourPenalised
from mmseg_boundary.registered.model_losses import UncalledLoss, find_loss, losses_of
from mmseg_boundary.registry import MODELS as OUR_MODELS
from tests.support import naive, nets
from tests.support.heads import head, samples
from tests.support.losses import LOSSES, value_and_gradient
from tests.support.scenes import scene, scenes, wild_scenes
from tests.support.skips import needs_gpu

CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
OHEM = dict(type='OhemCrossEntropy', thres=0.7, min_kept=10)
PLACES = [('ddrnet', place) for place in range(2)] + [('pidnet', place) for place in range(4)]
GEOMETRIC = [name for name in LOSSES if MODELS.get(name).measures_geometry]
OTHERS = [name for name in LOSSES if name not in GEOMETRIC]


@pytest.fixture(autouse=True)
def registered():
    register_all_modules()


def built(loss, **arguments):
    return MODELS.build(dict(type='NeighbourPenalised', loss=loss, **arguments))


def penalised(logits, labels, void=255, window=3):
    return neighbour_penalised(logits, encode(labels, logits.shape[1], void), window)


def logits_and_labels(void=255):
    torch.manual_seed(0)
    labels = torch.randint(3, (2, 8, 8))
    labels[:, :2] = void
    return torch.randn(2, 3, 8, 8, requires_grad=True), labels


def cross_entropy(logits, labels, void=255):
    return nn.functional.cross_entropy(logits, labels, ignore_index=void)


# --- Values ---------------------------------------------------------------------------------------


def test_the_value_by_hand():
    """The sum over 23 valid pixels of log(1 + e^d), with d the worst lead of a wrong class nearby:
    that of the one wrong pixel at the nine around it, 2, and -4 at the others."""
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[0, 3, 5] = 255
    lead = torch.full((4, 6), -4.0)
    lead[1, 1] = 2
    logits = torch.stack([torch.zeros(4, 6), lead])[None]
    cost = [torch.tensor(each).exp().log1p() for each in (2.0, -4.0)]
    expected, plain = (9 * cost[0] + 14 * cost[1]) / 23, (cost[0] + 22 * cost[1]) / 23
    torch.testing.assert_close(built(CE)(logits, labels, ignore_index=255), expected)
    both = built(CE | dict(loss_weight=3.0), keep=True, loss_weight=0.5)
    found = both(logits, labels, ignore_index=255)
    torch.testing.assert_close(found, 1.5 * (expected + plain))


def test_the_window():
    logits, labels = logits_and_labels()
    values = {window: built(CE, window=window)(logits, labels) for window in (3, 5, 99)}
    for window, value in values.items():
        expected = cross_entropy(penalised(logits, labels, window=window), labels)
        torch.testing.assert_close(value, expected)
    assert cross_entropy(logits, labels) < values[3] < values[5] < values[99]


@pytest.mark.parametrize('name', OTHERS)
def test_a_loss_of_ours_agrees_with_its_definition(name):
    row, takes_logits = LOSSES[name], MODELS.get(name).takes_logits

    @settings(max_examples=20)
    @given(scenes(), st.booleans())
    def agrees(one, keep):
        value = built(dict(type=name), keep=keep)(one.logits, one.labels).item()
        worst = naive.neighbour_penalised(one.logits, one.labels, one.void)
        expected = 0.0
        for logits in [torch.tensor(worst, dtype=torch.float64), *[one.logits] * keep]:
            probs = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
            expected += row.oracle(logits if takes_logits else probs, one.labels, one.void)
        assert value == pytest.approx(expected, row.tolerance, row.tolerance / 100)

    agrees()


@pytest.mark.parametrize('loss', [CE, dict(CE, use_sigmoid=True)])
def test_no_cross_entropy_of_mmsegmentations_falls(loss):
    @given(scenes())
    def holds(one):
        one_logit = one.logits.shape[1] == 1
        if one_logit and not loss.get('use_sigmoid') or (one.labels == one.void).all():
            return  # MMSegmentation asks for a sigmoid of one logit, and for a valid label
        plain, wrapped = MODELS.build(loss), built(loss)
        given_too = dict(ignore_index=one.void)
        value = wrapped(one.logits, one.labels, **given_too)
        assert value >= plain(one.logits, one.labels, **given_too) * (1 - 1e-7)

    holds()


def test_one_logit_of_mmsegmentations():
    one = scene(1, (2, 9, 8), seed=2)
    loss = dict(CE, use_sigmoid=True)
    expected = MODELS.build(loss)(penalised(one.logits, one.labels), one.labels, ignore_index=255)
    found = built(loss)(one.logits, one.labels, ignore_index=255)
    torch.testing.assert_close(found, expected)


def test_modules():
    """Torch's own, which has no name for the log, and a wrapper of a wrapper."""
    logits, labels = logits_and_labels()
    ours = built(nn.CrossEntropyLoss(ignore_index=255))
    expected = cross_entropy(penalised(logits, labels), labels)
    torch.testing.assert_close(ours(logits, labels), expected)
    assert ours.loss_name == 'loss_scnp_CrossEntropyLoss'
    twice = built(ours)
    again = penalised(penalised(logits, labels), labels)
    torch.testing.assert_close(twice(logits, labels), cross_entropy(again, labels))


@pytest.mark.parametrize(
    'loss, name',
    [
        (CE, 'loss_scnp_ce'),
        (dict(CE, loss_name='loss_main'), 'loss_scnp_main'),
        (dict(type='SoftDiceLoss'), 'loss_scnp_soft_dice'),
        (dict(type='LossSum', losses=[CE]), 'loss_scnp_sum'),
    ],
)
def test_its_name_is_that_of_the_loss(loss, name):
    assert built(loss).loss_name == name
    assert built(loss, loss_name='loss_own').loss_name == 'loss_own'


# --- Whatever a head can give ---------------------------------------------------------------------


def bears(loss, one):
    value, grad = value_and_gradient(loss, one.logits, one.labels)
    assert value.dtype == torch.promote_types(one.logits.dtype, torch.float32)
    assert value.dim() == 0 and value.isfinite()
    assert grad.dtype == one.logits.dtype and grad.isfinite().all()
    assert grad.masked_select(one.labels.unsqueeze(1) == one.void).eq(0).all()
    again = value_and_gradient(loss, one.logits, one.labels.clone())
    assert again[0].equal(value) and again[1].equal(grad)


WRAPPED = st.builds(
    lambda name, window, keep: built(dict(type=name), window=window, keep=keep),
    st.sampled_from(OTHERS),
    st.sampled_from((3, 5, 9)),
    st.booleans(),
)


@given(WRAPPED, wild_scenes())
def test_random_cases(loss, one):
    bears(loss, one)


@pytest.mark.slow
def test_ten_thousand_random_cases():
    tried = []

    @settings.get_profile('thorough')
    @given(WRAPPED, wild_scenes())
    def holds(loss, one):
        bears(loss, one)
        tried.append(one.kind)

    holds()
    assert len(tried) >= 10_000


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('loss', [CE, dict(type='SoftDiceLoss')])
def test_half_types_and_autocast_are_float32_of_the_rounded(dtype, loss):
    logits, labels = logits_and_labels()
    rounded = logits.detach().to(dtype).requires_grad_()
    wrapped = built(loss, keep=True)
    expected, grad = value_and_gradient(wrapped, rounded.float(), labels)
    for enabled in (False, True):
        rounded.grad = None
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            value = wrapped(rounded, labels, ignore_index=255)
        value.backward()
        assert value.dtype == torch.float32 and value.equal(expected)
        assert rounded.grad.equal(grad.to(dtype))


def test_the_loss_runs_outside_of_autocast():
    class Product(nn.Module):
        def forward(self, logits, labels):
            return (logits.flatten(1) @ logits.flatten(1).T).sum()

    logits, labels = logits_and_labels()
    expected = built(Product())(logits, labels)
    with torch.autocast('cpu', torch.bfloat16):
        assert built(Product())(logits, labels).equal(expected)


def test_nothing_valid_and_an_empty_batch_are_zeros_with_a_graph():
    empty = torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8, dtype=torch.long)
    void = torch.randn(2, 3, 8, 8), torch.full((2, 8, 8), 255)
    for name in OTHERS:
        for logits, labels in (empty, void):
            value, grad = value_and_gradient(built(dict(type=name)), logits, labels)
            assert value == 0 and grad.eq(0).all() and grad.shape == logits.shape
    value, grad = value_and_gradient(built(CE), *void)
    assert value == 0 and grad.eq(0).all()


def test_nan_logits_give_nan():
    logits, labels = logits_and_labels()
    logits = logits.detach().clone()
    logits[1, 2, 3, 4] = torch.nan
    assert built(CE)(logits, labels).isnan()


def test_the_forward_reads_nothing_back(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError('read back')

    logits, labels = logits_and_labels()
    loss = built(dict(type='BoundaryWeightedCELoss'), keep=True)
    monkeypatch.setattr(torch.Tensor, 'item', forbidden)
    monkeypatch.setattr(MessageHub, 'get_current_instance', forbidden)
    value_and_gradient(loss, logits, labels)


@needs_gpu
def test_cuda_agrees_with_the_cpu_and_waits_for_nothing():
    logits, labels = logits_and_labels()
    loss = built(dict(type='SoftDiceLoss'), keep=True)
    on_gpu = logits.detach().cuda(), labels.cuda()
    value_and_gradient(loss, *on_gpu)  # what is made once may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = value_and_gradient(loss, *on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected = value_and_gradient(loss, logits, labels)
    torch.testing.assert_close([each.cpu() for each in found], list(expected))


def test_copies_and_checkpoints():
    logits, labels = logits_and_labels()
    loss = built(dict(type='SoftDiceLoss', class_weight=[1, 2, 3]), keep=True)
    assert not loss.state_dict() and not list(loss.parameters())
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(logits, labels).equal(loss(logits, labels))


@pytest.mark.parametrize('registry', [MODELS, OUR_MODELS])
@pytest.mark.parametrize('scope', ['', 'mmseg.', 'mmseg_boundary.'])
def test_every_scope_knows_it(registry, scope):
    settings = dict(type=f'{scope}NeighbourPenalised', loss=dict(type=f'{scope}SoftDiceLoss'))
    assert type(registry.build(settings)) is NeighbourPenalised


# --- Void labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'own, given, inner, void',
    [
        (None, None, None, 255),
        (None, 9, None, 9),
        (9, None, None, 9),
        (9, 9, None, 9),
        (None, None, 9, 9),
        (None, 9, 9, 9),
    ],
)
def test_windows_and_loss_have_one_void_label(own, given, inner, void):
    """The head's, its own, that of the loss, or 255; MMSegmentation's OHEM calls it otherwise."""
    logits, labels = logits_and_labels(void)
    dice = dict(type='SoftDiceLoss', ignore_index=inner)
    found = built(dice, ignore_index=own)(logits, labels, ignore_index=given)
    worst = penalised(logits, labels, void)
    torch.testing.assert_close(found, SoftDiceLoss()(worst, labels, ignore_index=void))
    if given is None and own is None:
        ohem = MODELS.build(dict(OHEM, ignore_label=void))
        torch.testing.assert_close(built(ohem)(logits, labels), ohem(worst, labels))
        nested = built(dict(type='LossSum', losses=[CE, dice]))(logits, labels)
        expected = cross_entropy(worst, labels, void) + SoftDiceLoss(ignore_index=void)(
            worst, labels
        )
        torch.testing.assert_close(nested, expected)


def test_void_labels_that_differ():
    logits, labels = logits_and_labels()
    words = 'NeighbourPenalised has ignore_index=0, and the head ignore_index=255: remove the one'
    with pytest.raises(ValueError, match=re.escape(words)):
        built(CE, ignore_index=0)(logits, labels, ignore_index=255)
    two = [dict(type='SoftDiceLoss', ignore_index=void) for void in (9, 7)]
    loss = built(dict(type='LossSum', losses=two))
    words = (
        'have the void labels 9 and 7, and the head gives none: give all of them the same ignore'
    )
    with pytest.raises(ValueError, match=words):
        loss(logits, labels)
    with pytest.raises(ValueError, match="ignore_index is '255'; give a whole number, or None"):
        built(CE, ignore_index='255')


# --- Refusals -------------------------------------------------------------------------------------


def test_losses_of_fields_and_distances_are_refused():
    assert {'EPLLoss', 'EPLPointLoss', 'EPLLineLoss', 'BF1Loss'} < set(GEOMETRIC)
    assert {'KervadecBoundaryLoss', 'DistanceTransformLoss'} < set(GEOMETRIC)
    assert {'SoftDiceLoss', 'SoftmaxFocalLoss', 'BoundaryWeightedCELoss'} < set(OTHERS)
    for name in GEOMETRIC:
        words = (
            f'NeighbourPenalised got {name}, a loss of fields, distances or boundaries, which in'
        )
        sum_of = dict(type='LossSum', losses=[CE, dict(type=name)])
        for loss in (dict(type=name), MODELS.build(dict(type=name)), sum_of):
            with pytest.raises(ValueError, match=f'{words} .*: list it beside NeighbourPenalised'):
                built(loss)


def test_every_loss_with_distances_says_so():
    """A loss whose file imports distances measures geometry."""
    for name in LOSSES:
        file = ast.parse(open(sys.modules[MODELS.get(name).__module__].__file__).read())
        imported = [node.module for node in ast.walk(file) if isinstance(node, ast.ImportFrom)]
        if 'geometry.distance' in imported:
            assert MODELS.get(name).measures_geometry, f'{name} needs measures_geometry = True'


class OneArgument(nn.Module):
    def forward(self, logits):
        return logits.mean()


@pytest.mark.parametrize(
    'arguments, words',
    [
        (
            dict(loss=None),
            'loss is None; give the dict of one loss, as loss_decode has it (several',
        ),
        (
            dict(loss=[CE]),
            'give the dict of one loss, as loss_decode has it (several in a LossSum)',
        ),
        (
            dict(loss=dict(loss_weight=1.0)),
            "loss is {'loss_weight': 1.0}; give the dict of one loss",
        ),
        (dict(loss=nn.functional.cross_entropy), 'give the dict of one loss'),
        (dict(loss=OneArgument()), 'loss is a OneArgument, which does not take logits and labels'),
        (dict(loss=CE, loss_name='scnp'), "loss_name is 'scnp'; begin it with 'loss_'"),
        (dict(loss=CE, window=4), 'window is 4; give an odd number of pixels, 3 or more.'),
        (dict(loss=CE, window=1), 'window is 1; give an odd number of pixels, 3 or more.'),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        MODELS.build(dict(type='NeighbourPenalised', **arguments))


def test_labels_that_do_not_fit():
    logits, labels = logits_and_labels()
    with pytest.raises(ValueError, match=r'labels hold \[3\], but there are 3 classes'):
        built(CE)(logits, labels.where(labels != 0, 3))
    with pytest.raises(ValueError, match=r'logits are \(2, 3, 8, 7\) and the target is'):
        built(CE)(logits[..., 1:], labels)
    with pytest.raises(ValueError, match='give class indices of shape'):
        built(CE)(logits.flatten(2), labels.flatten(1))  # of a head that trains on points


# --- In heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize('name, place', PLACES)
def test_it_trains_in_every_place_of_a_head_with_places(name, place):
    """Beside the loss in this place: the log and the total grow by what it is alone."""
    stock, changed = nets.settings(name), nets.settings(name)
    given = changed.decode_head.loss_decode[place]
    changed.decode_head.loss_decode[place] = dict(
        type='NeighbourPenalised', loss=given, keep=True, loss_weight=2.0
    )
    stock, model = nets.build(stock), nets.build(changed)
    for each in (stock, model):
        if name == 'pidnet':  # the last place gets labels where the net predicts a boundary
            nn.init.constant_(each.decode_head.d_cls_seg.bias, 2.0)
    seen = []
    model.decode_head.loss_decode[place].losses[0].register_forward_hook(
        lambda loss, given, value: seen.append(value)
    )
    (before, log), (total, after) = nets.step(stock, name), nets.step(model, name)
    worst, plain = seen
    key = [key for key in log if 'loss' in key][1 + place]  # the sum comes first
    assert list(log) == list(after) and worst > plain > 0
    torch.testing.assert_close(plain.detach(), log[key])
    torch.testing.assert_close(after[key], 2 * (worst + plain).detach())
    torch.testing.assert_close(total - before, after[key] - log[key])
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_head_that_gives_void_and_weights():
    torch.manual_seed(0)
    features, labels = torch.randn(2, 4, 8, 8), torch.randint(3, (2, 1, 8, 8))
    labels[:, :, :3] = 7
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=20)
    decode_head = head(dict(type='NeighbourPenalised', loss=CE), ignore_index=7, sampler=sampler)
    logits = decode_head.eval()([features])
    found = decode_head.loss_by_feat(logits, samples([each[0] for each in labels]))['loss_scnp_ce']
    weight = decode_head.sampler.sample(logits, labels)
    expected = MODELS.build(CE)(
        penalised(logits, labels[:, 0], 7), labels[:, 0], weight=weight, ignore_index=7
    )
    torch.testing.assert_close(found, expected)
    assert not weight.all()


def test_a_sampler_that_ranks_pixels():
    logits, labels = logits_and_labels()
    found = built(CE)(logits, labels, ignore_index=255, reduction_override='none')
    worst = penalised(logits, labels)
    expected = nn.functional.cross_entropy(worst, labels, ignore_index=255, reduction='none')
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match='OhemCrossEntropy in NeighbourPenalised has no value per'):
        built(OHEM)(logits, labels, reduction_override='none')
    with pytest.raises(ValueError, match='SoftDiceLoss is no mean over pixels, but got pixel'):
        built(dict(type='SoftDiceLoss'))(logits, labels, weight=torch.rand(2, 8, 8))
    dice = dict(type='SoftDiceLoss', pixel_weight='ignore')
    assert built(dice)(logits, labels, reduction_override='none').eq(0).all()


def test_sums_around_it_and_in_it():
    logits, labels = logits_and_labels()
    held = dict(type='NeighbourPenalised', loss=dict(type='LossSum', losses=[CE, OHEM]))
    worst = penalised(logits, labels)
    expected = cross_entropy(worst, labels) + MODELS.build(OHEM)(worst, labels)
    outer = MODELS.build(dict(type='LossSum', losses=[CE, held], loss_weight=2.0))
    expected = 2 * (expected + cross_entropy(logits, labels))
    torch.testing.assert_close(outer(logits, labels, ignore_index=255), expected)


def test_the_labels_are_encoded_once_beside_other_losses(monkeypatch):
    """And their distances computed once, though z̃ comes between the losses that need them."""
    encoded, measured = [], []
    engine = distance.distance_to

    def counted(*arguments):
        encoded.append(arguments)
        return encode(*arguments)

    def distance_to(mask, *arguments):
        measured.append(mask)
        return engine(mask, *arguments)

    monkeypatch.setattr(decode_head_loss, 'encode', counted)
    monkeypatch.setattr(distance, 'distance_to', distance_to)
    ours = [dict(type='KervadecBoundaryLoss'), dict(type='DistanceTransformLoss')]
    scnp = dict(type='NeighbourPenalised', loss=dict(type='SoftDiceLoss'), keep=True)
    labels = torch.randint(3, (2, 16, 20))
    numbers = []
    for losses in (ours, [ours[0], scnp, ours[1]]):
        for dtype in (torch.float32, torch.bfloat16):
            decode_head = head(losses).to(dtype)
            logits = decode_head([torch.randn(2, 4, 16, 20, dtype=dtype)])
            decode_head.loss_by_feat(logits, samples(labels))
            numbers.append((len(encoded), len(measured)))
            encoded.clear(), measured.clear()
    assert numbers[0] == numbers[1] == numbers[2] == numbers[3] and numbers[0][0] == 1


# --- What sees through it -------------------------------------------------------------------------


def with_scnp(*appended):
    """DDRNet with the first loss of its head in a NeighbourPenalised of a LossSum."""
    settings = nets.settings('ddrnet')
    losses = settings.decode_head.loss_decode
    losses[0] = dict(
        type='NeighbourPenalised',
        loss=dict(type='LossSum', losses=[losses[0], dict(type='SoftDiceLoss')]),
    )
    losses += appended
    return nets.build(settings)


def run_of(model):
    return SimpleNamespace(model=model, iter=0, epoch=0, message_hub=MessageHub('tested'))


def test_keys_and_places():
    model = with_scnp()
    entries = [entry for entry in losses_of(model) if 'context' in entry.key]
    assert [(entry.key.removeprefix('decode.'), entry.place) for entry in entries] == [
        ('loss_context', 'loss_decode[0]'),
        ('loss_context.loss_sum', 'loss_decode[0].loss'),
        ('loss_context.loss_sum.loss_ohem', 'loss_decode[0].loss.losses[0]'),
        ('loss_context.loss_sum.loss_soft_dice', 'loss_decode[0].loss.losses[1]'),
    ]
    assert {entry.holder for entry in entries[1:]} == {entries[0]} and entries[0].holder is None
    wrapper = model.decode_head.loss_decode[0]
    assert find_loss(model, 'loss_context').loss is wrapper
    assert find_loss(model, 'decode.loss_soft_dice').loss is wrapper.losses[0].losses[1]


def test_schedules_move_both_weights():
    schedules = [
        dict(loss='decode.loss_context', kind='constant', start=0.5),
        dict(loss='loss_soft_dice', kind='constant', start=0.25),
    ]
    hook = HOOKS.build(dict(type='LossWeightSchedule', schedules=schedules, interval=1))
    model = with_scnp()
    wrapper = model.decode_head.loss_decode[0]
    held = wrapper.losses[0].losses
    seen = []
    for loss in held:
        loss.register_forward_hook(lambda loss, given, value: seen.append(value.detach()))
    runner = run_of(model)
    _, before = nets.step(model, 'ddrnet')
    ohem, dice = seen
    seen.clear()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    _, after = nets.step(model, 'ddrnet')
    hook.after_train_iter(runner, 0)
    torch.testing.assert_close(seen, [ohem, 0.25 * dice])
    torch.testing.assert_close(before['decode.loss_context'], ohem + dice)
    torch.testing.assert_close(after['decode.loss_context'], 0.5 * (ohem + 0.25 * dice))
    assert runner.message_hub.get_scalar('train/decode.weight_context').current() == 0.5
    hook.after_train(runner)
    assert (wrapper.loss_weight, held[1].loss_weight) == (1, 1)


def test_one_that_is_never_called_ends_training():
    model = with_scnp(dict(type='NeighbourPenalised', loss=CE))
    hook, runner = HOOKS.build(dict(type='CheckFiniteLossHook', uncalled_loss='stop')), run_of(None)
    runner.model = model
    hook.before_train(runner)
    nets.step(model, 'ddrnet')
    words = (
        'calls loss_decode[0] (NeighbourPenalised) and loss_decode[1] (OhemCrossEntropy) alone, so '
        'that loss_decode[2] (NeighbourPenalised) would train nothing. Put NeighbourPenalised in'
    )
    with pytest.raises(UncalledLoss, match=re.escape(words)):
        hook.after_train_iter(runner, 0, None, dict(loss=torch.tensor(1.0)))


def test_a_diverging_loss_is_named():
    decode_head = head([CE, dict(type='NeighbourPenalised', loss=CE)])
    logits, labels = logits_and_labels()
    found = decode_head.loss_by_feat(logits * torch.nan, samples(labels))
    hook = HOOKS.build(dict(type='CheckFiniteLossHook'))
    with pytest.raises(
        FloatingPointError, match='loss_ce is nan, loss_scnp_ce is nan at iteration'
    ):
        hook.after_train_iter(run_of(None), 0, None, found)


def test_its_arguments():
    """`LossSum` and it share the last three."""
    parameters = inspect.signature(NeighbourPenalised).parameters
    defaults = {name: each.default for name, each in parameters.items()}
    assert defaults.pop('loss') is inspect.Parameter.empty
    assert defaults == dict(
        window=3, keep=False, ignore_index=None, loss_weight=1.0, loss_name=None
    )

"""LossSum: alone, and in the heads that it is for."""

import copy
import pickle
import re

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from torch import nn

from mmseg_boundary.registered import LossSum
from mmseg_boundary.registry import MODELS as OUR_MODELS
from tests.support import nets
from tests.support.heads import head, samples

CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
OHEM = dict(type='OhemCrossEntropy', thres=0.7, min_kept=10)
PLACES = [('ddrnet', place) for place in range(2)] + [('pidnet', place) for place in range(4)]


@pytest.fixture(autouse=True)
def registered():
    register_all_modules()


def built(*losses, **arguments):
    return MODELS.build(dict(type='LossSum', losses=[dict(each) for each in losses], **arguments))


def logits_and_labels(void=255):
    torch.manual_seed(0)
    labels = torch.randint(3, (2, 8, 8))
    labels[:, :2] = void
    return torch.randn(2, 3, 8, 8, requires_grad=True), labels


@pytest.mark.parametrize('name, place', PLACES)
def test_a_loss_of_ours_trains_in_every_place_of_a_head_with_places(name, place):
    """In the log and in the gradients it adds what it is alone."""
    stock, settings = nets.build(nets.settings(name)), nets.settings(name)
    if name == 'pidnet':  # the last place gets labels where the net predicts a boundary
        nn.init.constant_(stock.decode_head.d_cls_seg.bias, 2.0)
    losses = settings.decode_head.loss_decode
    losses[place] = dict(type='LossSum', losses=[losses[place], nets.EPL])
    model = nets.build(settings)
    model.load_state_dict(stock.state_dict(), strict=True)
    alone = []
    epl = model.decode_head.loss_decode[place].losses[1]
    epl.register_forward_hook(lambda loss, given, value: alone.append(value))
    (before, log), (total, changed) = nets.step(stock, name), nets.step(model, name)

    (value,) = alone
    assert value.item() > 0
    key = [key for key in log if 'loss' in key][1 + place]  # the sum comes first
    assert list(log) == list(changed)
    torch.testing.assert_close(changed[key] - log[key], value.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(total - before, value, rtol=1e-4, atol=1e-5)

    def gradients(net, scalar):
        parameters = list(net.parameters())
        found = torch.autograd.grad(scalar, parameters, allow_unused=True, retain_graph=True)
        parts = zip(found, parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in parts])

    share = gradients(model, value)
    assert share.norm() > 0
    expected = gradients(stock, before) + share
    torch.testing.assert_close(gradients(model, total), expected, rtol=1e-3, atol=1e-4)


def test_the_sum_in_a_head_that_gives_void_and_weights():
    """MMSegmentation's own loss gets both; one that takes neither is called all the same."""
    torch.manual_seed(0)
    features, labels = torch.randn(2, 4, 8, 8), torch.randint(3, (2, 1, 8, 8))
    labels[:, :, :3] = 7
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=20)
    changes = dict(ignore_index=7, sampler=sampler)
    both = head(dict(type='LossSum', losses=[CE, OHEM | dict(ignore_label=7)]), **changes)
    ce = head(CE, **changes)
    ce.load_state_dict(both.state_dict())
    given = [each[0] for each in labels]
    logits = both.eval()([features])
    found = both.loss_by_feat(logits, samples(given))['loss_sum']
    expected = ce.loss_by_feat(logits, samples(given))['loss_ce']
    expected = expected + MODELS.build(OHEM | dict(ignore_label=7))(logits, labels[:, 0])
    torch.testing.assert_close(found, expected)


def test_the_value_is_the_weighted_sum_of_weighted_losses():
    logits, labels = logits_and_labels()
    found = built(CE | dict(loss_weight=3.0), nets.EPL, loss_weight=0.5)(logits, labels)
    ce = nn.functional.cross_entropy(logits, labels, ignore_index=255)
    expected = 0.5 * (3 * ce + MODELS.build(dict(nets.EPL))(logits, labels))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'own, given, void', [(None, None, 255), (None, 9, 9), (9, None, 9), (9, 9, 9)]
)
def test_the_void_label_is_the_heads_or_its_own_or_255(own, given, void):
    logits, labels = logits_and_labels(void)
    found = built(CE, nets.EPL, ignore_index=own)(logits, labels, ignore_index=given)
    expected = nn.functional.cross_entropy(logits, labels, ignore_index=void)
    expected = expected + MODELS.build(dict(nets.EPL))(logits, labels, ignore_index=void)
    torch.testing.assert_close(found, expected)


def test_a_void_label_of_one_loss_alone():
    """Where neither the head nor the sum has one."""
    logits, labels = logits_and_labels(9)
    own = dict(nets.EPL, ignore_index=9)
    expected = MODELS.build(dict(nets.EPL))(logits, labels, ignore_index=9)
    for losses in (own, dict(type='LossSum', losses=[own])):
        torch.testing.assert_close(built(losses)(logits, labels), expected)


def test_two_void_labels():
    words = 'LossSum has ignore_index=0, and the head ignore_index=255: remove the one of LossSum'
    with pytest.raises(ValueError, match=re.escape(words)):
        built(CE, ignore_index=0)(*logits_and_labels(), ignore_index=255)


def test_pixel_weights_reach_what_takes_them():
    logits, labels = logits_and_labels()
    weight = torch.rand(2, 8, 8)
    found = built(CE, OHEM)(logits, labels, weight=weight, ignore_index=255)
    expected = MODELS.build(CE)(logits, labels, weight=weight, ignore_index=255)
    torch.testing.assert_close(found, expected + MODELS.build(OHEM)(logits, labels))
    with pytest.raises(ValueError, match='SoftDiceLoss'):
        built(CE, dict(type='SoftDiceLoss'))(logits, labels, weight=weight)


def test_one_value_per_pixel_for_a_sampler_that_ranks_them():
    logits, labels = logits_and_labels()
    found = built(CE, CE)(logits, labels, reduction_override='none')
    expected = nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    torch.testing.assert_close(found, 2 * expected)
    with pytest.raises(ValueError, match='OhemCrossEntropy in LossSum has no value per pixel'):
        built(CE, OHEM)(logits, labels, reduction_override='none')


def test_sums_of_sums():
    logits, labels = logits_and_labels()
    nested = built(CE, dict(type='LossSum', losses=[CE, OHEM], loss_weight=2.0))
    expected = 3 * MODELS.build(CE)(logits, labels, ignore_index=255)
    expected = expected + 2 * MODELS.build(OHEM)(logits, labels)
    torch.testing.assert_close(nested(logits, labels), expected)


@pytest.mark.parametrize('registry', [MODELS, OUR_MODELS])
@pytest.mark.parametrize('scope', ['', 'mmseg.', 'mmseg_boundary.'])
def test_every_scope_knows_it(registry, scope):
    losses = [CE, dict(type=f'{scope}EPLLoss')]
    assert type(registry.build(dict(type=f'{scope}LossSum', losses=losses))) is LossSum


def test_copies_and_checkpoints():
    """EMAHook copies the model, and a checkpoint has to load without us."""
    logits, labels = logits_and_labels()
    loss = built(CE, nets.EPL | dict(class_weight=[1, 2, 3]))
    assert not loss.state_dict() and not list(loss.parameters())
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(logits, labels).equal(loss(logits, labels))


def test_repr_shows_the_settings_and_the_losses():
    shown = repr(built(CE, nets.EPL, loss_weight=0.5, ignore_index=7))
    own, *losses = shown.splitlines()[1:]
    assert own == "  ignore_index=7, loss_weight=0.5, loss_name='loss_sum'"
    assert any('(0): CrossEntropyLoss' in line for line in losses)
    assert any('(line): EPLLineLoss(kernel_size=' in line for line in losses)
    wrapper = MODELS.build(dict(type='NeighbourPenalised', loss=CE, window=5))
    assert 'window=5, keep=False, ignore_index=None, loss_weight=1.0' in repr(wrapper)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(losses=[]), 'losses is []; give a list of dicts, one per loss, as loss_decode has'),
        (dict(losses=dict(CE)), 'give a list of dicts, one per loss'),
        (dict(losses=['CrossEntropyLoss']), 'give a list of dicts, one per loss'),
        (dict(losses=[CE], loss_name='sum'), "loss_name is 'sum'; begin it with 'loss_'"),
        (dict(losses=[CE], loss_name=None), "loss_name is None; begin it with 'loss_'"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        MODELS.build(dict(type='LossSum', **arguments))

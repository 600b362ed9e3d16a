"""What docs/other-implementations.md says of losses of MMSegmentation and MONAI, found by calling
them."""

import re
from inspect import signature

import pytest
import torch
from mmseg.models import losses as theirs

from mmseg_boundary import losses as ours
from tests.support.skips import ROOT

PAGE = ROOT / 'docs/other-implementations.md'
CLASSES, VOID = 3, 255


def of_mmseg(name, **arguments):
    loss = getattr(theirs, name)(**arguments)
    return lambda logits, label, **given: loss(logits, label, ignore_index=VOID, **given)


def of_monai(name, **arguments):
    """With the labels in MONAI's form: (N, 1, H, W)."""

    def call(logits, label, **given):
        from monai import losses

        one = logits.shape[1] == 1
        form = dict(sigmoid=True) if one else dict(softmax=True, to_onehot_y=True)
        label = label[:, None].float() if one else label[:, None]
        return getattr(losses, name)(**form, **arguments)(logits, label, **given)

    return call


def needs_an_argument(loss):
    """Whether it is made around another loss."""
    return any(each.default is each.empty for each in signature(loss).parameters.values())


def of_ours(name):
    loss = getattr(ours, name)()
    return lambda logits, label, **given: loss(logits, label, ignore_index=VOID, **given)


OTHERS = {
    'MMSeg `HuasdorffDisstanceLoss`': of_mmseg('HuasdorffDisstanceLoss'),
    'MMSeg `DiceLoss`': of_mmseg('DiceLoss', use_sigmoid=False),
    'MMSeg `LovaszLoss`': of_mmseg('LovaszLoss', reduction='none'),
    'MMSeg `TverskyLoss`': of_mmseg('TverskyLoss'),
    'MMSeg `FocalLoss`': of_mmseg('FocalLoss'),
    'MONAI `HausdorffDTLoss`': of_monai('HausdorffDTLoss', include_background=True),
    'MONAI `GeneralizedDiceLoss`': of_monai('GeneralizedDiceLoss'),
    'MONAI `DiceLoss`': of_monai('DiceLoss'),
}
OURS = [
    name
    for name in ours.__all__
    if isinstance(getattr(ours, name), type) and not needs_an_argument(getattr(ours, name))
]
COLUMNS = ('several classes', 'void', 'one logit', 'pixel weights', 'void alone')


def scene():
    """Logits, and a label of three classes without void."""
    logits = torch.randn(2, CLASSES, 48, 64, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(2, 48, 64, dtype=torch.long)
    label[:, :, 32:] = 1
    label[:, 24:, 16:48] = 2
    return logits, label


def several_classes(loss):
    """Whether the order of the classes changes nothing."""
    logits, label = scene()
    order = torch.tensor([2, 0, 1])
    values = loss(logits, label), loss(logits[:, order], order.argsort()[label])
    return 'yes' if torch.allclose(*values, rtol=1e-4) else 'no'


def void(loss):
    """Whether the logits at void change nothing, and have no gradient."""
    logits, label = scene()
    label[:, 16:28, 24:36] = VOID
    ignored = (label == VOID)[:, None]
    values = loss(logits.requires_grad_(), label), loss(logits + 5 * ignored * logits.sign(), label)
    values[0].backward()
    counts = (logits.grad * ignored).any() or not torch.allclose(*values, rtol=1e-4)
    return 'counts' if counts else 'yes'


def one_logit(loss):
    """Whether the right prediction costs less than one that is off by four pixels."""
    logits, label = scene()
    label = (label == 1).long()
    right = 4 * (2 * label[:, None] - 1) + logits[:, :1]
    right, shifted = loss(right, label), loss(right.roll(4, 3), label)
    if right == shifted:
        return 'constant'
    return 'yes' if right < shifted else 'reversed'


def pixel_weights(loss):
    """Whether the weights of pixels that a sampler gives change the value."""
    logits, label = scene()
    weight = torch.ones(label.shape)
    weight[:, :20] = 3
    return 'yes' if loss(logits, label, weight=weight) != loss(logits, label) else 'ignored'


def void_alone(loss):
    """Whether a rank whose images are all void has a value and a gradient of 0."""
    logits, label = scene()
    value = loss(logits.requires_grad_(), torch.full_like(label, VOID))
    value.backward()
    if not value.isfinite() or not logits.grad.isfinite().all():
        return 'NaN'
    return 'counts' if logits.grad.any() else 'yes'


PROBES = (several_classes, void, one_logit, pixel_weights, void_alone)


def found(loss, probe):
    try:
        return probe(loss)
    except Exception:  # of whatever kind: it is what the page says
        return 'error'


def table(first):
    """The rows of the page's table whose first heading is this, [{heading: cell}]."""
    lines = PAGE.read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f'| {first} |'))
    rows = []
    for line in lines[start:]:
        if not line.startswith('|'):
            break
        rows.append([cell.strip() for cell in line.strip('|').split('|')])
    head, _, *rest = rows
    return [dict(zip(head, row, strict=True)) for row in rest]


def cells(name):
    """{column: cell} of a row of the measured table."""
    (row,) = [row for row in table('loss') if row['loss'] == name]
    return row


@pytest.mark.parametrize('name', OTHERS)
def test_the_page_says_what_another_loss_does(name):
    said = cells(name)
    for column, probe in zip(COLUMNS, PROBES, strict=True):
        assert found(OTHERS[name], probe) == said[column], column


@pytest.mark.parametrize('name', OURS)
def test_the_page_says_what_ours_do(name):
    said = cells('all of ours')
    for column, probe in zip(COLUMNS, PROBES, strict=True):
        assert found(of_ours(name), probe) in said[column].split(' or '), column


def test_all_that_is_said_can_be_checked():
    """By a link to lines at a commit, by this file or by the benchmark."""
    text = PAGE.read_text()
    links = dict(re.findall(r'^\[([\w-]+)\]: (.*)$', text, re.MULTILINE))
    assert {*re.findall(r'\]\[([\w-]+)\]', text)} == {*links}
    assert all(re.search(r'/(blob|tree)/[0-9a-f]{40}', link) for link in links.values())
    assert {row['loss'] for row in table('loss')} == {'all of ours', *OTHERS}
    for row in table('code'):
        for column in (*COLUMNS, 'double loop', 'speed'):
            known = re.fullmatch(r'\[.*\]\[[\w-]+\]|not checked|not run|[\d.]+', row[column])
            assert known, (row['code'], column)


def test_mmsegs_boundary_loss_is_of_an_edge_map():
    """It takes one logit per pixel and nothing else: no label map, void or weight."""
    logits, label = scene()
    loss = theirs.BoundaryLoss()
    with pytest.raises(IndexError):
        loss(logits, label)
    edge = (label == 2).long()
    right = 4 * (2 * edge[:, None] - 1.0)
    assert loss(right, edge) < loss(right.roll(4, 3), edge)
    with pytest.raises(TypeError):
        loss(right, edge, weight=torch.ones(edge.shape))

"""BF1 against the numbers worked by hand, the double loops, and its readable form.

The hand-worked scene: 9 x 9, class 1 in rows and columns 2-6, class 0 elsewhere.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import bf1, bf1_loss, blocks
from mmseg_boundary.losses.bf1 import inner_boundary, window_max
from tests.support import naive
from tests.support.compiling import require_one_compilation
from tests.support.readable import bf1 as readable
from tests.support.scenes import scene, scenes
from tests.support.skips import ROOT

SQUARE = torch.zeros(1, 9, 9, dtype=torch.long)
SQUARE[:, 2:7, 2:7] = 1
TARGET = encode(SQUARE, 2)
MASKS = TARGET.masks.double()
FIRST = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 9, 9)

# prediction, theta, precision and recall of the classes 0 and 1, loss, loss of class 1 alone
TABLE = [
    ('perfect', 3, (1, 1), (1, 1), 0, 0),
    ('perfect', 5, (1, 1), (1, 1), 0, 0),
    ('shift by 1', 3, (1, 1), (1, 1), 0, 0),
    ('shift by 1', 5, (1, 1), (1, 1), 0, 0),
    ('shift by 3', 3, (0.875, 0.5625), (0.875, 0.5625), 0.281250, 0.4375),
    ('shift by 3', 5, (0.958333, 1), (0.958333, 1), 0.020833, 0),
    ('soft', 3, (1, 1), (0.8, 0.8), 0.111111, 0.111111),
    ('soft', 5, (1, 1), (0.8, 0.8), 0.111111, 0.111111),
    ('uniform', 3, (0, 0), (0, 0), 1, 1),
    ('uniform', 5, (0, 0), (0, 0), 1, 1),
    ('empty', 3, (0, 0), (0, 0), 1, 1),
    ('all ones', 3, (0, 0), (0, 0), 1, 1),
]
PREDICTIONS = {
    'perfect': MASKS,
    'shift by 1': MASKS.roll(1, 3),
    'shift by 3': MASKS.roll(3, 3),
    'soft': 0.1 + 0.8 * MASKS,
    'uniform': torch.full_like(MASKS, 0.5),
    'empty': FIRST,
    'all ones': 1 - FIRST,
}


@pytest.mark.parametrize('prediction, theta, precision, recall, loss, of_class_1', TABLE)
def test_values_by_hand(prediction, theta, precision, recall, loss, of_class_1):
    probs = PREDICTIONS[prediction]
    true, soft = inner_boundary(MASKS, 3), inner_boundary(probs, 3)
    hits = (soft * window_max(true, theta)).sum((0, 2, 3))
    assert (hits / (soft.sum((0, 2, 3)) + 1e-7)).tolist() == pytest.approx(precision, abs=1e-6)
    hits = (true * window_max(soft, theta)).sum((0, 2, 3))
    assert (hits / true.sum((0, 2, 3))).tolist() == pytest.approx(recall, abs=1e-6)
    assert bf1_loss(probs, TARGET, theta=theta).item() == pytest.approx(loss, abs=1e-6)
    alone = bf1_loss(probs, TARGET, theta=theta, class_weight=[0, 1])
    assert alone.item() == pytest.approx(of_class_1, abs=1e-6)


def test_the_boundary_by_hand():
    """Class 1: its outer ring, 16 px. Class 0: the ring around it with its corners, 24 px."""
    assert inner_boundary(MASKS, 3).sum((2, 3)).tolist() == [[24, 16]]


def test_the_image_border_is_no_boundary():
    assert inner_boundary(torch.ones(1, 1, 4, 5), 3).eq(0).all()


@pytest.mark.parametrize(
    'labels, classes',
    [
        (torch.zeros(1, 9, 9, dtype=torch.long), 2),  # one class everywhere, the other absent
        (torch.full((1, 9, 9), 255), 2),
    ],
)
def test_without_boundaries_nothing_enters(labels, classes):
    probs = torch.rand(1, classes, 9, 9, requires_grad=True)
    loss = bf1_loss(probs, encode(labels, classes))
    loss.backward()
    assert loss.item() == 0 and probs.grad.eq(0).all()


def test_an_absent_class_does_not_enter():
    probs = torch.cat([PREDICTIONS['soft'], torch.zeros(1, 1, 9, 9)], 1)
    assert bf1_loss(probs, encode(SQUARE, 3)).item() == pytest.approx(0.111111, abs=1e-6)


@given(scenes(num_logits=(1, 2, 3)))
def test_agrees_with_the_definition(scene):
    options = [
        dict(theta0=5, theta=1),
        dict(theta=7, class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
        dict(theta=3, per_image=False),
    ]
    for option in options:
        ours = bf1_loss(scene.probs, scene.target, **option)
        theirs = naive.bf1_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-8, abs=1e-10)


# --- One class: what docs/bf1.md says of it -------------------------------------------------------


@pytest.mark.parametrize('theta, slope', [(5, -1), (1, 1)])
def test_a_contour_within_the_tolerance_is_held(theta, slope):
    """The ring around the square is predicted, too: with a tolerance the loss raises it, without
    one, as a cross-entropy, it lowers it."""
    square = SQUARE[:, None] > 0
    ring = window_max(square, 3) & ~square
    probs = (0.1 + 0.8 * square.double() + 0.5 * ring).requires_grad_()
    bf1_loss(probs, encode(SQUARE, 1), theta=theta).backward()
    assert probs.grad[ring].sum().item() * slope > 0.1


@given(scenes(num_logits=(1,)), st.floats(0, 0.5))
def test_no_level_of_the_probabilities_is_preferred(scene, level):
    """Not even one above the threshold; void, which has no level, is left out."""
    target = encode(scene.labels.where(scene.labels != scene.void, 0), 1)
    low, high = (bf1_loss(each + scene.probs / 2, target).item() for each in (0, level))
    assert low == pytest.approx(high, abs=1e-9)


def test_an_outline_is_as_good_as_the_object_to_one_logit():
    """Both of its contours are within the tolerance; to two logits the hole has one that is not."""
    label = disc(15)
    outline = label & ~disc(12)
    assert bf1_loss(outline[None].double(), encode(label.long(), 1)).item() < 1e-6
    both = torch.stack([~outline, outline], 1).double()
    assert bf1_loss(both, encode(label.long(), 2)).item() > 0.1


def test_a_false_object_in_an_image_without_a_contour_costs_something_if_pooled():
    labels = torch.cat([SQUARE, 0 * SQUARE])
    right = encode(labels, 1)
    false = torch.cat([SQUARE, SQUARE])[:, None].double()
    assert bf1_loss(false, right).item() == pytest.approx(0, abs=1e-6)
    # half of the predicted boundary is false: 1 - 2 x 0.5 / 1.5
    assert bf1_loss(false, right, per_image=False).item() == pytest.approx(1 / 3, abs=1e-6)


def disc(radius):
    rows, columns = torch.meshgrid(*2 * (torch.arange(-20, 20),), indexing='ij')
    return (rows**2 + columns**2 <= radius**2)[None]


def ious_after_training(radii, weight):
    """Of logits that begin 2 px around discs, after 200 steps of CE + weight x BF1."""
    true = torch.stack([disc(radius) for radius in radii])
    wider = torch.stack([disc(radius + 2) for radius in radii]).float()
    noise = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    logits = (2 * wider - 1 + 0.3 * noise).requires_grad_()
    target = encode(true[:, 0].long(), 1)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(200):
        ce = F.binary_cross_entropy_with_logits(logits, true.float())
        (ce + weight * bf1_loss(logits.sigmoid(), target)).backward()
        optimizer.step()
        optimizer.zero_grad()
    pred = logits > 0
    return ((pred & true).sum((1, 2, 3)) / (pred | true).sum((1, 2, 3))).tolist()


def test_small_objects_pay_for_the_tolerance_as_the_page_says():
    page = (ROOT / 'docs/bf1.md').read_text()
    lines = re.findall(r'^\| (?:radius|\d+ px) \|.*', page, re.M)
    weights, *rows = [re.findall(r'[\d.]+', line) for line in lines]
    radii = [int(row[0]) for row in rows]
    assert len(radii) == len(weights) == 3
    for column, weight in enumerate(weights, 1):
        found = ious_after_training(radii, float(weight))
        assert [float(row[column]) for row in rows] == pytest.approx(found, abs=0.03)


# --- The fast form against the readable one -------------------------------------------------------

OPTIONS = [
    dict(),
    dict(theta=1),
    dict(theta0=5, theta=7, per_image=False),
    dict(theta0=3, theta=19),
    dict(theta0=9, theta=3),
]


def value_and_gradient(loss, probs, target, **options):
    probs = probs.detach().clone().requires_grad_()
    value = loss(probs, target, **options)
    value.backward()
    return value.detach(), probs.grad


@st.composite
def tied_scenes(draw):
    """Scenes whose probabilities take few values, so that most windows have several maxima."""
    one = draw(scenes())
    levels = draw(st.sampled_from((1, 2, 4, 1000)))
    return (one.probs * levels).round() / levels, one.target


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('step', [1, 100, bf1._CPU_STEP])
def test_ties_go_to_the_first_pixel_as_in_the_readable_form(options, step, monkeypatch):
    monkeypatch.setattr(bf1, '_CPU_STEP', step)

    @given(tied_scenes())
    def agrees(case):
        ours = value_and_gradient(bf1_loss, *case, **options)
        theirs = value_and_gradient(readable.bf1_loss, *case, **options)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)

    agrees()


@pytest.fixture
def on_device(monkeypatch):
    """The kernels of a device, as they stand."""
    monkeypatch.setattr(blocks, 'is_queued', lambda tensor: True)
    monkeypatch.setattr(bf1, '_by_kernels', lambda probs: True)
    monkeypatch.setattr(bf1, 'kernels_for', lambda probs: blocks.as_it_stands)


@pytest.mark.usefixtures('on_device')
@pytest.mark.parametrize('options', OPTIONS)
@settings(max_examples=40)
@given(tied_scenes())
def test_so_they_do_by_the_kernels_of_a_device(options, case):
    ours = value_and_gradient(bf1_loss, *case, **options)
    theirs = value_and_gradient(readable.bf1_loss, *case, **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures('on_device')
@pytest.mark.parametrize('kind', ['random', 'saturated', 'uniform'])
@pytest.mark.parametrize(
    'dtype, tolerance', [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_other_types_by_the_kernels_of_a_device(kind, dtype, tolerance):
    one = scene(5, (1, 40, 50), kind)
    given = one.probs.to(dtype), one.target
    assert [some for _, some in blocks.class_blocks(given[0])] == [slice(0, 2), slice(2, 5)]
    value, grad = value_and_gradient(bf1_loss, *given)
    their_value, their_grad = value_and_gradient(readable.bf1_loss, *given)
    assert value.dtype == grad.dtype == dtype
    torch.testing.assert_close(value, their_value, rtol=tolerance, atol=tolerance)
    scale = their_grad.abs().max().item()
    torch.testing.assert_close(grad, their_grad, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.usefixtures('on_device')
def test_nan_is_not_hidden_by_the_kernels_of_a_device():
    one = scene(3, (2, 30, 40), void_share=0)
    one.logits[0, :, 0, 0] = torch.nan
    assert bf1_loss(one.probs, one.target).isnan()
    one.labels[0, 0, 0] = one.void
    assert bf1_loss(one.probs, one.target).isfinite()


@pytest.mark.slow  # they are compiled
def test_the_kernels_of_a_device_take_all_sizes_compiled(monkeypatch):
    def compare(one):
        given = one.probs.float(), one.target
        ours, theirs = (value_and_gradient(loss, *given) for loss in (bf1_loss, readable.bf1_loss))
        torch.testing.assert_close(ours, theirs)

    require_one_compilation(monkeypatch, [blocks, bf1], compare)


@pytest.mark.parametrize('kind', ['random', 'saturated', 'uniform'])
@pytest.mark.parametrize(
    'dtype, tolerance', [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_other_types_agree_with_the_readable_form(kind, dtype, tolerance):
    one = scene(4, (2, 40, 50), kind)
    given = one.probs.to(dtype), one.target
    value, grad = value_and_gradient(bf1_loss, *given)
    their_value, their_grad = value_and_gradient(readable.bf1_loss, *given)
    assert value.dtype == grad.dtype == dtype
    torch.testing.assert_close(value, their_value, rtol=tolerance, atol=tolerance)
    scale = their_grad.abs().max().item()
    torch.testing.assert_close(grad, their_grad, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_masks_of_any_layout(memory_format):
    one = scene(5, (2, 9, 11), 'random')
    probs = one.probs.contiguous(memory_format=memory_format)
    ours = value_and_gradient(bf1_loss, probs, one.target)
    theirs = value_and_gradient(readable.bf1_loss, one.probs, one.target)
    torch.testing.assert_close(ours, theirs)


def test_only_the_inputs_are_kept_for_the_gradient():
    one = scene(5, (2, 40, 50), 'random')
    logits, target = one.logits.requires_grad_(), one.target
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        probs = logits.softmax(1)
        bf1_loss(probs, target)
    maps = [size for size in kept.values() if size >= 40 * 50]
    assert sum(maps) == 8 * probs.numel() + target.masks.numel() + target.valid.numel()


def test_probabilities_of_other_images_are_refused():
    one = scene(3, (2, 6, 7))
    with pytest.raises(ValueError, match=r'probs are \(2, 4, 6, 7\) and .* \(2, 3, 6, 7\)'):
        bf1_loss(torch.rand(2, 4, 6, 7), one.target)


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(theta0=1), 'theta0 is 1; give an odd number of pixels, 3 or more'),
        (dict(theta0=4), 'theta0 is 4; give an odd number of pixels, 3 or more'),
        (dict(theta=-1), 'theta is -1; give an odd number of pixels, 1 or more'),
        (dict(theta=2), 'theta is 2; give an odd number of pixels, 1 or more'),
        (dict(theta=5.0), 'theta is 5.0; give an odd number of pixels, 1 or more'),
    ],
)
def test_windows_have_a_middle(options, words):
    with pytest.raises(ValueError, match=words):
        bf1_loss(MASKS, TARGET, **options)


@given(scenes(), st.sampled_from((1, 3, 5, 7, 9, 19)))
def test_window_max_is_a_pool(scene, window):
    assert window_max(scene.probs, window).equal(readable.window_max(scene.probs, window))
    mask = scene.target.masks
    assert window_max(mask, window).equal(readable.window_max(mask.double(), window) > 0)

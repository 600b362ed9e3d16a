"""The properties of every registered loss: those that hold and those that do not.

A loss enters by its row in `support.losses`; `test_every_loss_is_listed` sees to it. A property is
a function of (loss, scene) that returns by how much it is violated. Where a row says that one does
not hold, that is tested too.
"""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import MessageHub
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import compiled, losses
from mmseg_boundary.losses.decode_head_loss import DecodeHeadLoss
from tests.support.losses import LOSSES
from tests.support.scenes import scene, scenes
from tests.support.skips import needs_gpu

PIXELS = 'pixel_weight'


def build(name, **arguments):
    return MODELS.build(dict(type=name, **LOSSES[name].on_small_images | arguments))


def gradient(loss, logits, *rest, **options):
    logits = logits.detach().clone().requires_grad_()
    loss(logits, *rest, **options).backward()
    return logits.grad


def distance(ours, theirs):
    return (ours - theirs).abs().max().item()


WITH_CLASS_WEIGHT = [name for name in LOSSES if 'class_weight' in LOSSES[name].arguments]


# --- Properties -----------------------------------------------------------------------------------


def void_has_no_influence(loss, scene):
    void = scene.labels.unsqueeze(1) == scene.void
    noise = torch.where(void, torch.randn_like(scene.logits) * 9, scene.logits)
    value = distance(loss(scene.logits, scene.labels), loss(noise, scene.labels))
    grad = gradient(loss, scene.logits, scene.labels)
    return value + grad.masked_select(void).abs().sum().item()


def the_void_label_comes_from_the_call(loss, scene):
    other = scene.labels.where(scene.labels != scene.void, 77)
    return distance(loss(scene.logits, scene.labels), loss(scene.logits, other, ignore_index=77))


def values_and_gradients_are_finite(loss, scene):
    value = loss(scene.logits, scene.labels)
    grad = gradient(loss, scene.logits, scene.labels)
    return 0.0 if value.isfinite() and grad.isfinite().all() else float('inf')


def the_same_twice_and_inputs_untouched(loss, scene):
    logits, labels = scene.logits.clone(), scene.labels.clone()
    first = gradient(loss, scene.logits, scene.labels)
    second = gradient(loss, scene.logits, scene.labels)
    untouched = logits.equal(scene.logits) and labels.equal(scene.labels)
    return distance(first, second) if untouched else float('inf')


def memory_layout_does_not_matter(loss, scene):
    last = scene.logits.contiguous(memory_format=torch.channels_last)
    strided = scene.logits.repeat_interleave(2, 3)[..., ::2]
    value = loss(scene.logits, scene.labels)
    return max(distance(loss(x, scene.labels), value) for x in (last, strided))


def classes_may_be_renamed(loss, scene):
    classes = scene.logits.shape[1]
    if classes == 1:
        return 0.0  # the two sides of a binary task are not alike
    order = torch.arange(classes).roll(1)
    renamed = scene.labels.where(
        scene.labels == scene.void, order.argsort()[scene.labels % classes]
    )
    return distance(loss(scene.logits[:, order], renamed), loss(scene.logits, scene.labels))


def flips_and_transposes_commute(loss, scene):
    value = loss(scene.logits, scene.labels)
    turns = (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2))
    return max(distance(loss(turn(scene.logits), turn(scene.labels)), value) for turn in turns)


def padding_with_void_changes_nothing(loss, scene):
    labels = torch.nn.functional.pad(scene.labels, (5, 5, 5, 5), value=scene.void)
    logits = torch.nn.functional.pad(scene.logits, (5, 5, 5, 5), value=1.0)
    return distance(loss(logits, labels), loss(scene.logits, scene.labels))


def the_target_is_not_beaten(loss, scene):
    classes = scene.logits.shape[1]
    labels = scene.labels.where(scene.labels != scene.void, 0).unsqueeze(1)
    sure = 40 * (
        labels == (torch.arange(classes) if classes > 1 else torch.tensor([1])).view(-1, 1, 1)
    )
    sure = sure.double() - 20
    return max(0.0, (loss(sure, scene.labels) - loss(scene.logits, scene.labels)).item())


def half_types_equal_float32_of_the_rounded(loss, scene):
    worst = 0.0
    for dtype in (torch.float16, torch.bfloat16):
        rounded = scene.logits.to(dtype)
        with torch.autocast('cpu', torch.bfloat16):
            value = loss(rounded, scene.labels)
        assert value.dtype == torch.float32
        worst = max(worst, distance(value, loss(rounded.float(), scene.labels)))
    return worst


PROPERTIES = {
    'void has no influence': void_has_no_influence,
    'the void label comes from the call': the_void_label_comes_from_the_call,
    'values and gradients are finite': values_and_gradients_are_finite,
    'the same twice, and inputs untouched': the_same_twice_and_inputs_untouched,
    'memory layout does not matter': memory_layout_does_not_matter,
    'classes may be renamed': classes_may_be_renamed,
    'flips and transposes commute': flips_and_transposes_commute,
    'padding with void changes nothing': padding_with_void_changes_nothing,
    'the target is not beaten': the_target_is_not_beaten,
    'half types equal float32 of the rounded': half_types_equal_float32_of_the_rounded,
}
PAIRS = [(name, title) for name in LOSSES for title in PROPERTIES]


@pytest.mark.parametrize('name, title', PAIRS)
def test_property(name, title):
    loss, violation = build(name), PROPERTIES[title]
    if title not in LOSSES[name].does_not_hold:

        @given(scenes())
        def holds(scene):
            assert violation(loss, scene) < 1e-5

        holds()
    else:
        scenes_of_all_kinds = [
            scene(num_logits, (1, 9, 8), kind, seed=seed)
            for num_logits in (2, 3)
            for kind in ('random', 'uniform')
            for seed in range(3)
        ]
        assert max(violation(loss, each) for each in scenes_of_all_kinds) > 1e-3


@pytest.mark.parametrize('name', [name for name in LOSSES if LOSSES[name].range_at_ties])
def test_flips_and_transposes_commute_without_ties(name):
    @given(scenes(kinds=('random',)))
    def holds(scene):
        assert flips_and_transposes_commute(build(name), scene) < 1e-5

    holds()


# --- One loss, one test ---------------------------------------------------------------------------


def test_every_loss_is_listed():
    modules = set(MODELS.module_dict.values())
    ours = {module.__name__ for module in modules if issubclass_of_ours(module)}
    public = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    assert ours == public == set(LOSSES)
    names = [build(name).loss_name for name in LOSSES]
    assert len(set(names)) == len(names)  # MMSeg adds up what shares a name


def issubclass_of_ours(module):
    return isinstance(module, type) and issubclass(module, DecodeHeadLoss)


@pytest.mark.parametrize('name', LOSSES)
def test_agrees_with_the_definition(name):
    loss = build(name)

    @given(scenes())
    def agrees(scene):
        assert value_of(loss, scene) == expected(name, scene)

    agrees()


@pytest.mark.parametrize('name', [name for name in LOSSES if LOSSES[name].options])
def test_agrees_with_the_definition_whatever_the_options(name):
    @given(scenes(), st.sampled_from(LOSSES[name].options))
    def agrees(scene, options):
        assert value_of(build(name, **options), scene) == expected(name, scene, **options)

    agrees()


def value_of(loss, scene):
    return loss(scene.logits, scene.labels).item()


def expected(name, scene, **options):
    """By the oracle, to its tolerance."""
    row = LOSSES[name]
    maps = scene.logits if MODELS.get(name).takes_logits else scene.probs
    exact = row.oracle(maps, scene.labels, scene.void, **row.on_small_images | options)
    return pytest.approx(exact, row.tolerance, row.tolerance / 100)


@pytest.mark.parametrize('name', LOSSES)
def test_every_argument_matters(name):
    one = scene(3, (2, 12, 14), seed=8)
    assert not one.target.present.all()  # a class is absent, for what it counts
    row = LOSSES[name]
    cases = [({}, key, other) for key, other in row.arguments.items()]
    for given_too, argument, other in [*cases, *row.with_others]:
        pair = build(name, **given_too), build(name, **given_too, **{argument: other})
        before, after = (loss(one.logits, one.labels) for loss in pair)
        if argument in row.of_gradient:
            assert distance(before, after) == 0, argument
            before, after = (gradient(loss, one.logits, one.labels) for loss in pair)
        assert distance(before, after) > 1e-6, argument


@pytest.mark.parametrize('name', LOSSES)
def test_every_argument_is_tried(name):
    arguments = set(inspect.signature(MODELS.get(name).__init__).parameters)
    row = LOSSES[name]
    tried = {*row.arguments, *(argument for _, argument, _ in row.with_others)}
    last = ['ignore_index'] if MODELS.get(name).takes_pixel_weight else ['ignore_index', PIXELS]
    assert list(inspect.signature(MODELS.get(name)).parameters)[-len(last) :] == last
    assert arguments - {'self', 'loss_name', *last} == tried


@pytest.mark.parametrize('name', LOSSES)
def test_repr_shows_every_argument(name):
    """Its value now, since a schedule moves weights. EPLLoss hands most of its own to its parts."""
    row, of_all = LOSSES[name], {'loss_name': 'loss_x', 'ignore_index': 7}
    cases = [({}, *each) for each in (row.arguments | of_all).items()]
    for given_too, argument, other in [*cases, *row.with_others]:
        pair = [repr(build(name, **given_too, **each)) for each in ({}, {argument: other})]
        assert pair[0] != pair[1], argument
    loss = MODELS.build(dict(type=name))
    shown = repr(loss)
    for argument, parameter in inspect.signature(type(loss)).parameters.items():
        in_parts = name == 'EPLLoss' and argument in ('point_weight', 'line_weight')
        assert f'{"loss_weight" if in_parts else argument}={parameter.default!r}' in shown
    loss.loss_weight = 0.125
    assert repr(loss) == shown.replace('loss_weight=1.0', 'loss_weight=0.125', 1) != shown


@pytest.mark.parametrize('name', LOSSES)
def test_the_void_label_is_the_heads_or_that_of_the_loss_or_255(name):
    one = scene(3, (2, 12, 14), seed=3)
    other = one.labels.where(one.labels != 255, 77)
    value = build(name)(one.logits, one.labels)
    assert build(name, ignore_index=77)(one.logits, other) == value
    for of_loss, of_head in ((None, 77), (77, None), (77, 77)):
        loss = build(name, ignore_index=of_loss)
        assert loss(one.logits, other, ignore_index=of_head) == value
    for loss in (build(name), build(name, ignore_index=255)):
        assert loss(one.logits, one.labels, ignore_index=255) == value
    with pytest.raises(ValueError, match=f'{name} has ignore_index=77.*gives ignore_index=255'):
        build(name, ignore_index=77)(one.logits, one.labels, ignore_index=255)
    zero = build(name, ignore_index=0)
    with pytest.raises(ValueError, match='has ignore_index=0, .*gives ignore_index=255'):
        zero(one.logits, one.labels, ignore_index=255)
    with pytest.raises(ValueError, match="ignore_index is '255'; give a whole number, or None"):
        build(name, ignore_index='255')


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.uint16, torch.uint32])
def test_labels_of_any_integer_type(name, dtype):
    one = scene(3, (2, 12, 14), seed=3)
    assert build(name)(one.logits, one.labels.to(dtype)) == build(name)(one.logits, one.labels)


@pytest.mark.parametrize('name', LOSSES)
def test_loss_weight_is_a_factor(name):
    one = scene(3, seed=1)
    value = build(name)(one.logits, one.labels)
    assert build(name, loss_weight=2.5)(one.logits, one.labels).item() == pytest.approx(
        2.5 * value.item()
    )


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('bad', ['one pixel', 'all pixels'])
def test_nan_logits_give_nan(name, bad):
    logits = torch.randn(2, 3, 8, 8)
    if bad == 'one pixel':
        logits[1, 2, 3, 4] = torch.nan
    else:
        logits[:] = torch.nan
    labels = torch.arange(128).reshape(2, 8, 8) % 3
    assert build(name)(logits, labels).isnan()


@pytest.mark.parametrize('name', LOSSES)
def test_an_empty_batch_is_a_zero_with_a_graph(name):
    logits = torch.zeros(0, 3, 8, 8, requires_grad=True)
    value = build(name)(logits, torch.zeros(0, 8, 8, dtype=torch.long))
    value.backward()
    assert value.item() == 0 and logits.grad.shape == logits.shape


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('num_logits', [1, 3])
def test_nothing_valid_is_a_zero_with_a_graph(name, num_logits):
    empty = scene(num_logits, void_share=1.0)
    logits = empty.logits.requires_grad_()
    value = build(name)(logits, empty.labels)
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


@pytest.mark.parametrize('name', LOSSES)
def test_one_logit_is_a_sigmoid(name):
    """One logit equals the second of two independent logits, when the first has no weight (or,
    for a loss without class weights, is the same everywhere); or, if both classes have a term, the
    softmax of 0 and the logit, whose second one is the sigmoid."""
    binary = scene(1, seed=2)
    value = build(name)(binary.logits, binary.labels)
    both = torch.cat([torch.full_like(binary.logits, 0.0), binary.logits], 1)
    weights = dict(class_weight=[0.0, 1.0]) if name in WITH_CLASS_WEIGHT else {}
    second_alone = dict(use_sigmoid=True, **weights)
    options = {} if LOSSES[name].one_logit_is_two_classes else second_alone
    kept = build(name, **options)(both, binary.labels)
    assert value.item() == pytest.approx(kept.item(), rel=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_checkpoints_hold_nothing_of_a_loss(name):
    weights = dict(class_weight=[1.0, 2.0]) if name in WITH_CLASS_WEIGHT else {}
    assert not build(name, **weights).state_dict()


@pytest.mark.parametrize('name', LOSSES)
def test_gradcheck(name):
    one = scene(2, (1, 5, 6), seed=4)
    loss = build(name, **LOSSES[name].gradcheck)
    logits = one.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, one.labels), logits)


@pytest.mark.parametrize('name', LOSSES)
def test_refusals(name):
    loss, one = build(name), scene(3)
    ones = torch.ones(one.labels.shape)
    if loss.takes_pixel_weight:
        mean = build(name, **LOSSES[name].pixel_mean)
        tripled = mean(one.logits, one.labels, weight=3 * ones)
        assert tripled.item() == pytest.approx(3 * mean(one.logits, one.labels).item())
    else:
        ways_out = r"\(2, 6, 7\).*if it has one.*remove the head's `sampler`.*pixel_weight='ignore'"
        with pytest.raises(ValueError, match=ways_out):
            loss(one.logits, one.labels, weight=ones)
    ways_out = (
        'give the sampler a `thresh`, or remove it'
        if loss.takes_pixel_weight
        else "remove it, or give the loss pixel_weight='ignore'"
    )
    with pytest.raises(ValueError, match=rf"'none', .* sampler of .* if it has one.*{ways_out}"):
        loss(one.logits, one.labels, reduction_override='none')
    with pytest.raises(ValueError, match="reduction_override is 'mean'; leave it out"):
        loss(one.logits, one.labels, reduction_override='mean')
    with pytest.raises(ValueError, match=r'logits \(2, 3, 6, 7\) and labels \(1, 6, 7\)'):
        loss(one.logits, one.labels[:1])
    with pytest.raises(ValueError, match=r'labels hold \[3\], but there are 3 classes'):
        loss(one.logits, one.labels.where(one.labels != 0, 3))
    if name in WITH_CLASS_WEIGHT:
        with pytest.raises(ValueError, match='class_weight has 2 entries for 3 logits'):
            build(name, class_weight=[1.0, 2.0])(one.logits, one.labels)
        with pytest.raises(ValueError, match='is .* give a list of non-negative numbers'):
            build(name, class_weight=[1.0, -2.0])
    else:
        with pytest.raises(TypeError, match='class_weight'):
            build(name, class_weight=[1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="begin it with 'loss_'"):
        build(name, loss_name='epl')
    with pytest.raises(TypeError, match='wieght'):
        build(name, loss_wieght=1.0)


WITHOUT_PIXEL_MEAN = [name for name in LOSSES if not MODELS.get(name).takes_pixel_weight]


@pytest.mark.parametrize('name', WITHOUT_PIXEL_MEAN)
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_pixel_weights_may_be_ignored(name, dtype):
    loss, one = build(name, pixel_weight='ignore', loss_weight=2.0), scene(3, seed=1)
    logits = one.logits.to(dtype).requires_grad_()
    value = build(name, loss_weight=2.0)(logits, one.labels)
    assert value != 0
    for weight in (None, torch.rand(one.labels.shape), torch.zeros(one.labels.shape)):
        assert loss(logits, one.labels, weight=weight) == value
    zeros = loss(logits, one.labels, ignore_index=255, reduction_override='none')
    assert zeros.equal(torch.zeros_like(one.labels)) and not zeros.requires_grad
    assert zeros.dtype == value.dtype
    zeros += 1  # a sampler adds the other losses, in place
    assert loss(logits, one.labels, reduction_override='none').eq(0).all()
    with pytest.raises(ValueError, match='resized to the labels'):
        loss(logits[..., 1:], one.labels, reduction_override='none')
    with pytest.raises(ValueError, match="reduction_override is 'sum'; leave it out"):
        loss(logits, one.labels, reduction_override='sum')


@pytest.mark.parametrize('name', LOSSES)
def test_pixel_weights_are_refused_or_ignored(name):
    if name in WITHOUT_PIXEL_MEAN:
        with pytest.raises(ValueError, match="is 'drop'; choose one of 'refuse', 'ignore'"):
            build(name, pixel_weight='drop')
    else:
        with pytest.raises(TypeError, match='pixel_weight'):
            build(name, pixel_weight='ignore')


@needs_gpu
@pytest.mark.parametrize('name', LOSSES)
def test_cuda_agrees_with_the_cpu(name):
    one = scene(3, (2, 24, 30), seed=5)
    logits, labels = one.logits.cuda(), one.labels.cuda()
    loss = build(name)
    tolerance = max(1e-6, LOSSES[name].tolerance)
    assert distance(loss.cuda()(logits, labels).cpu(), loss(one.logits, one.labels)) < tolerance
    on_gpu = gradient(loss, logits, labels).cpu()
    assert distance(on_gpu, gradient(loss, one.logits, one.labels)) < tolerance


@pytest.mark.parametrize('name', LOSSES)
def test_forward_reads_nothing_back_and_knows_no_hub(name, monkeypatch):
    """`.item()` would wait for the device at every step; a hub would tie the loss to a runner. On
    the CPU distances and the check of the labels read the labels, the distances of HausdorffDTLoss
    its predictions too."""

    def forbidden(*args, **kwargs):
        raise AssertionError('read back')

    loss, one = build(name), scene(3, seed=6)
    monkeypatch.setattr(torch.Tensor, 'item', forbidden)
    monkeypatch.setattr(MessageHub, 'get_current_instance', forbidden)
    gradient(loss, one.logits, one.labels)


@pytest.mark.parametrize('name', LOSSES)
def test_the_body_runs_outside_of_autocast(name, monkeypatch):
    loss, one = build(name), scene(3, seed=7)
    seen = []
    term = loss.term
    monkeypatch.setattr(
        loss, 'term', lambda *args: seen.append(torch.is_autocast_enabled('cpu')) or term(*args)
    )
    with torch.autocast('cpu', torch.bfloat16):
        loss(one.logits.bfloat16(), one.labels)
    assert seen == [False]


@needs_gpu
@pytest.mark.parametrize('name', LOSSES)
def test_nothing_waits_for_the_gpu(name):
    one = scene(3, (2, 24, 30), seed=5)
    loss, logits, labels = build(name).cuda(), one.logits.cuda(), one.labels.cuda()
    gradient(loss, logits, labels)  # what is made once may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        gradient(loss, logits, labels)
    finally:
        torch.cuda.set_sync_debug_mode('default')


@needs_gpu
@pytest.mark.slow  # it compiles
@pytest.mark.parametrize('name', LOSSES)
def test_compiled_for_cuda_it_agrees_with_the_cpu(name, monkeypatch):
    one = scene(3, (2, 64, 70), seed=5)
    expected = build(name)(one.logits, one.labels), gradient(build(name), one.logits, one.labels)
    logits, labels, loss = one.logits.cuda(), one.labels.cuda(), build(name).cuda()
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.setattr(compiled, '_warn', pytest.fail)
    found = loss(logits, labels).cpu(), gradient(loss, logits, labels).cpu()
    assert max(map(distance, found, expected)) < max(1e-6, LOSSES[name].tolerance)


@needs_gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', LOSSES)
def test_autocast_on_cuda_changes_nothing_beside_the_rounded_logits(name, dtype):
    one = scene(3, (2, 24, 30), seed=5)
    loss, logits, labels = build(name).cuda(), one.logits.cuda().to(dtype), one.labels.cuda()
    with torch.autocast('cuda', dtype):
        value, grad = loss(logits, labels), gradient(loss, logits, labels)
    exact = logits.float()
    assert value.dtype == torch.float32 and value.equal(loss(exact, labels))
    assert grad.equal(gradient(loss, exact, labels).to(dtype))


@needs_gpu
@pytest.mark.parametrize('name', LOSSES)
def test_deterministic_algorithms_suffice_on_cuda(name):
    one = scene(3, (2, 24, 30), seed=5)
    loss, logits, labels = build(name).cuda(), one.logits.cuda(), one.labels.cuda()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (gradient(loss, logits, labels) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert first.equal(second)


@needs_gpu
@pytest.mark.parametrize('name', LOSSES)
def test_a_captured_step_is_that_of_each_replay(name):
    """Forwards and backwards, in one CUDA graph."""
    scenes_of = [scene(3, (2, 24, 30), seed=seed) for seed in (5, 6, 7)]
    loss = build(name).cuda()
    logits, labels = scenes_of[0].logits.cuda().requires_grad_(), scenes_of[0].labels.cuda()

    def step():
        value = loss(1 * logits, labels)
        return value, *torch.autograd.grad(value, logits)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for one in scenes_of[1:]:
        with torch.no_grad():
            logits.copy_(one.logits)
        labels.copy_(one.labels)
        graph.replay()
        torch.testing.assert_close(captured, step())

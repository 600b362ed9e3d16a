"""How far float32 is from float64, half types from float32, and how mixed precision trains.

The logits are rounded first, so that both sides get the same numbers.
"""

import math
import sys
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import CheckpointLoader

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import losses
from mmseg_boundary.geometry.rays import ray_sums
from tests.support.commands import ROOT, run
from tests.support.heads import head, samples
from tests.support.logs import losses as logged_losses
from tests.support.scenes import scene, wild_scenes
from tests.support.skips import needs_gpu


class Bound(NamedTuple):
    """For a loss L and each entry g of its gradient, with L64 and g64 those in float64:

        |L - L64| <= value x max(1, |L64|)
        |g - g64| <= relative x max |g64| + absolute

    The absolute part is for probabilities near 1: p (1 - p) has the error of p, 6e-8, however small
    it is.
    """

    value: float = 1e-6
    relative: float = 1e-6
    absolute: float = 4e-7


# Some four times what 2,500 scenes of up to 390 pixels showed.
BOUNDS = {
    # squares of energies up to 4
    'EPLPointLoss': Bound(value=2e-6, absolute=1e-6),
    # The closeness is steep: at mu = 10 an error of an energy counts up to fourfold.
    'EPLLineLoss': Bound(value=2e-6, relative=1e-5, absolute=1e-6),
    'EPLLoss': Bound(relative=1e-5),
    'KervadecBoundaryLoss': Bound(),
    'DistanceTransformLoss': Bound(),
    'BF1Loss': Bound(),
    'SoftDiceLoss': Bound(),
    'JaccardLoss': Bound(),
    'SoftmaxFocalLoss': Bound(),
    # the sum of two means
    'BoundaryWeightedCELoss': Bound(value=2e-6),
}
# The line loss takes the pixels of certain ranks: where energies all but tie, other pixels in
# float32 than in float64, and no bound but its range holds.
RANKED = {'EPLLineLoss', 'EPLLoss'}
MARGIN = 1e-5  # of energies up to 4, in float32


def test_every_loss_is_listed():
    modules = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    assert set(BOUNDS) == modules


def build(name, **options):
    return getattr(losses, name)(**options)


def value_and_gradient(loss, logits, labels):
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.detach(), leaf.grad


def ranks_are_clear(logits, target, sigmoid):
    """Whether the energies on both sides of each cut through the ranks are a MARGIN apart, for the
    defaults of the line loss."""
    probs = logits.sigmoid() if sigmoid or logits.shape[1] == 1 else logits.softmax(1)
    fields = [
        ray_sums(field, 7, 'A', 'constant')
        for field in (target.planes.double(), target.masked(probs))
    ]
    for truth, energies in zip(*fields, strict=True):
        first = (target.valid & (truth == 0)).sum((2, 3))
        size = (target.valid & (truth >= 1) & (truth <= 3)).sum((2, 3))
        ordered = energies.masked_fill(~target.valid, torch.inf).flatten(2).sort().values
        ordered = torch.nn.functional.pad(ordered, (1, 1), value=torch.inf)
        ordered[..., 0] = -torch.inf
        for cut in (first, first + size):
            below, above = (ordered.gather(2, (cut + side)[..., None]) for side in (0, 1))
            if not ((above - below > MARGIN).squeeze(2) | (size == 0)).all():
                return False
    return True


def within_bound(name, sigmoid, scene):
    """Whether there is a bound to be within."""
    loss, logits = build(name, use_sigmoid=sigmoid), scene.logits.float()
    value, grad = value_and_gradient(loss, logits, scene.labels)
    exact, slopes = value_and_gradient(loss, logits.double(), scene.labels)
    assert value.dtype == torch.float32 and exact.dtype == torch.float64
    if name in RANKED and not ranks_are_clear(logits.double(), scene.target, sigmoid):
        # 0.02 x 16 and 0.2 x 3
        lowest, highest = {'EPLLineLoss': (-0.2, 3.001), 'EPLLoss': (-0.04, 0.921)}[name]
        assert lowest <= value <= highest and lowest <= exact <= highest
        return False
    bound = BOUNDS[name]
    assert abs(value - exact) <= bound.value * max(1, abs(exact))
    error = (grad - slopes).abs().max()
    assert error <= bound.relative * slopes.abs().max() + bound.absolute
    return True


@pytest.mark.parametrize('name', BOUNDS)
def test_float32_is_near_float64(name):
    bounded = []

    @given(st.booleans(), wild_scenes())
    def holds(sigmoid, scene):
        bounded.append(within_bound(name, sigmoid, scene))

    holds()
    assert sum(bounded) > len(bounded) / 2


@pytest.mark.slow
@pytest.mark.parametrize('name', BOUNDS)
def test_float32_is_near_float64_in_many_scenes(name):
    @settings(settings.get_profile('thorough'), max_examples=2_000)
    @given(st.booleans(), wild_scenes())
    def holds(sigmoid, scene):
        within_bound(name, sigmoid, scene)

    holds()


@pytest.mark.parametrize('name', BOUNDS)
@pytest.mark.parametrize('kind', ['random', 'saturated', 'truth'])
def test_float32_is_near_float64_in_a_larger_picture(name, kind):
    """Sums over 24,576 pixels, of which the line loss takes some that all but tie with others."""
    large = scene(19, (2, 96, 128), kind, seed=1)
    logits = large.logits.float()
    value, exact = (build(name)(each, large.labels).item() for each in (logits, logits.double()))
    bound = 2e-3 if name in RANKED else BOUNDS[name].value
    assert abs(value - exact) <= bound * max(1, abs(exact))


# --- Half types, which MMEngine has on CUDA alone -------------------------------------------------


@pytest.mark.parametrize('name', BOUNDS)
def test_half_types_and_autocast_change_nothing_on_the_cpu(name):
    """Bit for bit the float32 value of the rounded logits, and its gradient, rounded."""

    @given(st.booleans(), st.sampled_from((torch.bfloat16, torch.float16)), wild_scenes())
    def holds(sigmoid, dtype, scene):
        if scene.logits.dtype == torch.float64:
            return  # float64 stays
        loss = build(name, use_sigmoid=sigmoid)
        expected, slopes = value_and_gradient(loss, scene.logits.float(), scene.labels)
        leaf = scene.logits.detach().requires_grad_()
        for enabled in (False, True):
            leaf.grad = None
            with torch.autocast('cpu', dtype, enabled=enabled):
                value = loss(leaf, scene.labels)
            value.backward()
            assert value.dtype == torch.float32 and value.equal(expected)
            assert leaf.grad.equal(slopes.to(leaf.dtype))

    holds()


def test_a_head_in_autocast_gets_the_float32_values():
    """All losses at once: of bfloat16 logits, which the head's convolutions make."""
    torch.manual_seed(0)
    decode_head = head([dict(type=name) for name in BOUNDS])
    labels = scene(3, (2, 16, 20)).labels
    with torch.autocast('cpu', torch.bfloat16):
        logits = decode_head([torch.randn(2, 4, 16, 20)])
        values = decode_head.loss_by_feat(logits, samples(labels))
    assert logits.dtype == torch.bfloat16
    for name in BOUNDS:
        loss = build(name)
        assert values[loss.loss_name].equal(loss(logits.float(), labels)), name
    sum(value for key, value in values.items() if key.startswith('loss_')).backward()
    slopes = decode_head.conv_seg.weight.grad
    assert slopes.isfinite().all() and slopes.any()


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_mixed_precision_trains(dtype, tmp_path):
    """200 iterations of the shapes config. The scaler begins with 2^16 and halves its scale at each
    step that it skips: there are as many as halvings, few, and all others are taken."""
    iterations = 200
    run(
        sys.executable,
        ROOT / 'tools/train.py',
        ROOT / 'configs/pspnet_epl_shapes.py',
        '--amp',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'optim_wrapper.dtype={dtype}',
        f'train_cfg.max_iters={iterations}',
        f'train_cfg.val_interval={iterations}',
        f'param_scheduler.0.end={iterations}',
        'default_hooks.logger.interval=1',
    )
    values = logged_losses(tmp_path)
    assert set(values) == set(range(1, iterations + 1))
    assert all(math.isfinite(each) for step in values.values() for each in step.values())
    first, last = (
        sum(values[step]['loss'] for step in steps) / 20
        for steps in (range(1, 21), range(iterations - 19, iterations + 1))
    )
    assert last < first
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / f'iter_{iterations}.pth'), 'cpu')
    skipped = math.log2(2**16 / checkpoint['optimizer']['loss_scaler']['scale'])
    taken = {int(state['step']) for state in checkpoint['optimizer']['state'].values()}
    assert taken == {iterations - skipped} and 0 <= skipped <= (0 if dtype == 'bfloat16' else 5)

"""How far float32 is from float64, half types from float32, and how mixed precision trains.

The logits are rounded first, so that both sides get the same numbers.
"""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import CheckpointLoader

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import losses
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from tests.support.commands import ROOT, run
from tests.support.heads import head, samples
from tests.support.logs import losses as logged_losses
from tests.support.losses import LOSSES, value_and_gradient
from tests.support.scenes import scene, wild_scenes
from tests.support.skips import needs_gpu

MARGIN = 1e-5  # of energies up to 4, in float32


def build(name, **options):
    return getattr(losses, name)(**LOSSES[name].on_small_images | options)


def ranks_are_clear(logits, target, sigmoid):
    """Whether the energies on both sides of each cut through the ranks are a MARGIN apart, for the
    defaults of the line loss."""
    probs = logits.sigmoid() if sigmoid or logits.shape[1] == 1 else logits.softmax(1)
    fields = [
        ray_sums(maps, Rays(7, 'A', 'constant'))
        for maps in (target.masks.double(), target.masked(probs))
    ]
    for target_field, energies in zip(*fields, strict=True):
        first = (target.valid & (target_field == 0)).sum((2, 3))
        size = (target.valid & (target_field >= 1) & (target_field <= 3)).sum((2, 3))
        ordered = energies.masked_fill(~target.valid, torch.inf).flatten(2).sort().values
        ordered = torch.nn.functional.pad(ordered, (1, 1), value=torch.inf)
        ordered[..., 0] = -torch.inf
        for cut in (first, first + size):
            below, above = (ordered.gather(2, (cut + side)[..., None]) for side in (0, 1))
            if not ((above - below > MARGIN).squeeze(2) | (size == 0)).all():
                return False
    return True


def within_bound(name, sigmoid, scene):
    """Asserts that float32 is near float64; whether ranks are clear enough for the bound."""
    loss, logits = build(name, use_sigmoid=sigmoid), scene.logits.float()
    value, grad = value_and_gradient(loss, logits, scene.labels)
    exact, exact_grad = value_and_gradient(loss, logits.double(), scene.labels)
    assert value.dtype == torch.float32 and exact.dtype == torch.float64
    row = LOSSES[name]
    if row.range_at_ties and not ranks_are_clear(logits.double(), scene.target, sigmoid):
        # Other pixels in float32 than in float64 have the ranks that the loss takes.
        lowest, highest = row.range_at_ties
        assert lowest <= value <= highest and lowest <= exact <= highest
        return False
    if row.jumps and row.jumps(logits.double(), scene.target, sigmoid):
        assert value.isfinite() and grad.isfinite().all()
        return False
    bound = row.bound
    assert abs(value - exact) <= bound.value * max(1, abs(exact))
    error = (grad - exact_grad).abs().max()
    assert error <= bound.relative * exact_grad.abs().max() + bound.absolute
    return True


@pytest.mark.parametrize('name', LOSSES)
def test_float32_is_near_float64(name):
    bounded = []

    @given(st.booleans(), wild_scenes())
    def holds(sigmoid, scene):
        bounded.append(within_bound(name, sigmoid, scene))

    holds()
    assert sum(bounded) > len(bounded) / 2


@pytest.mark.slow
@pytest.mark.parametrize('name', LOSSES)
def test_float32_is_near_float64_in_many_scenes(name):
    @settings(settings.get_profile('thorough'), max_examples=2_000)
    @given(st.booleans(), wild_scenes())
    def holds(sigmoid, scene):
        within_bound(name, sigmoid, scene)

    holds()


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('kind', ['random', 'saturated', 'labels'])
def test_float32_is_near_float64_in_a_larger_image(name, kind):
    """Sums over 24,576 pixels, of which the line loss takes some that all but tie with others."""
    large = scene(19, (2, 96, 128), kind, seed=1)
    logits = large.logits.float()
    value, exact = (build(name)(each, large.labels).item() for each in (logits, logits.double()))
    bound = 2e-3 if LOSSES[name].range_at_ties else LOSSES[name].bound.value
    assert abs(value - exact) <= bound * max(1, abs(exact))


# --- Half types, which MMEngine has on CUDA alone -------------------------------------------------


@pytest.mark.parametrize('name', LOSSES)
def test_half_types_and_autocast_change_nothing_on_the_cpu(name):
    """Bit for bit the float32 value of the rounded logits, and its gradient, rounded."""

    @given(st.booleans(), st.sampled_from((torch.bfloat16, torch.float16)), wild_scenes())
    def holds(sigmoid, dtype, scene):
        if scene.logits.dtype == torch.float64:
            return  # float64 stays
        loss = build(name, use_sigmoid=sigmoid)
        expected, expected_grad = value_and_gradient(loss, scene.logits.float(), scene.labels)
        leaf = scene.logits.detach().requires_grad_()
        for enabled in (False, True):
            leaf.grad = None
            with torch.autocast('cpu', dtype, enabled=enabled):
                value = loss(leaf, scene.labels)
            value.backward()
            assert value.dtype == torch.float32 and value.equal(expected)
            assert leaf.grad.equal(expected_grad.to(leaf.dtype))

    holds()


def test_a_head_in_autocast_gets_the_float32_values():
    """All losses at once: of bfloat16 logits, which the head's convolutions make."""
    torch.manual_seed(0)
    decode_head = head([dict(type=name, **row.on_small_images) for name, row in LOSSES.items()])
    labels = scene(3, (2, 16, 20)).labels
    with torch.autocast('cpu', torch.bfloat16):
        logits = decode_head([torch.randn(2, 4, 16, 20)])
        values = decode_head.loss_by_feat(logits, samples(labels))
    assert logits.dtype == torch.bfloat16
    for name in LOSSES:
        loss = build(name)
        assert values[loss.loss_name].equal(loss(logits.float(), labels)), name
    sum(value for key, value in values.items() if key.startswith('loss_')).backward()
    grad = decode_head.conv_seg.weight.grad
    assert grad.isfinite().all() and grad.any()


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

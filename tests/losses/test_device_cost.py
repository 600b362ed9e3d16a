"""What the losses cost a GPU, as `tests.support.device_cost` counts it: estimates, not times."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_boundary import losses
from tests.support.device_cost import DeviceCost, compiler, cost_of, counted, from_logits
from tests.support.skips import ROOT

CITY, ADE = (2, 19, 512, 1024), (4, 150, 512, 512)
MAP = 4 * torch.Size(CITY).numel()  # bytes, of the logits as of their gradient
LOSSES = {
    'EPL, w=7': losses.EPLLoss(kernel_size=7, mu=2),
    'EPL, w=23': losses.EPLLoss(kernel_size=23, mu=2),
    'Kervadec': losses.KervadecBoundaryLoss(),
    'distance transform': losses.DistanceTransformLoss(),
    'Hausdorff': losses.HausdorffDTLoss(),
    'BF1': losses.BF1Loss(),
}


def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels.long(), ignore_index=255)


def meta(*shape, **options):
    return torch.empty(*shape, device='meta', **options)


# --- The counter ----------------------------------------------------------------------------------


def test_cross_entropy_has_its_known_cost():
    """The labels as int64, log-softmax and the mean, backwards in reverse: the gradient of the mean
    is filled with zeros and written, so that three maps exist at once."""
    cost = cost_of(cross_entropy, CITY)
    pixels = CITY[0] * CITY[2] * CITY[3]
    launches = dict(to_int64=1, log_softmax=1, nll_loss=1, ones_like=1, backwards=2)
    assert cost.launches == sum(launches.values())
    # log-softmax 2 maps, its mean 1, the gradients 1 + 1 and 3; the labels 1 + 8 and 2 x 8 bytes
    assert cost.moved_bytes / MAP == pytest.approx(8 + 25 * pixels / MAP, rel=1e-6)
    assert cost.peak_bytes / MAP == pytest.approx(3, rel=1e-6)  # the labels are freed by then


def test_a_kernel_split_in_two_is_one_launch_more_and_moves_its_map_twice_more():
    def first(maps):
        return maps.exp() + 1

    def second(maps):
        return maps.square() * 2

    maps = meta(64, 64)
    with DeviceCost() as whole:
        counted(lambda maps: second(first(maps)))(maps)
    with DeviceCost() as split:
        counted(second)(counted(first)(maps))
    assert (whole.launches, split.launches) == (1, 2)
    assert whole.moved_bytes == 2 * 64 * 64 * 4
    assert split.moved_bytes == 4 * 64 * 64 * 4
    with DeviceCost() as eager:
        second(first(maps))
    assert (eager.launches, eager.moved_bytes) == (4, 8 * 64 * 64 * 4)


def test_what_lives_between_the_kernels_of_a_graph_counts_at_the_peak():
    def kernel(maps):  # cumulative sums are left to the library, one by one
        return maps.exp().cumsum(0).cumsum(1).sum()

    maps = meta(64, 64)
    with DeviceCost() as cost:
        counted(kernel)(maps)
    assert cost.launches == 4
    assert cost.moved_bytes == 7 * 4 * 64 * 64 + 4
    assert cost.peak_bytes == 2 * 4 * 64 * 64
    assert cost.live_bytes == 0


def test_thirty_sums_of_a_map_are_one_launch():
    maps = meta(64, 64)
    with DeviceCost() as cost:
        counted(lambda maps: torch.stack([(maps < each).sum(1) for each in range(30)]))(maps)
    assert cost.launches == 1
    assert cost.moved_bytes == 4 * 64 * 64 + 30 * 8 * 64


@pytest.mark.slow  # it compiles
def test_a_plan_has_as_many_kernels_as_inductor_generates():
    from torch._inductor import metrics

    def kernel(maps):
        sums = maps.exp().cumsum(-1)
        return sums.square().sum((0, 1)), (sums > 0.5).flip(0)

    with DeviceCost() as cost:
        counted(kernel)(meta(8, 40, 50))
    torch._dynamo.reset()
    metrics.reset()
    with torch._inductor.config.patch(force_disable_caches=True):
        torch.compile(kernel)(torch.rand(8, 40, 50))
    # and the cumulative sum, which it leaves to the library; parts of a softmax it counts each
    assert cost.launches == metrics.generated_kernel_count + 1 == 4


@pytest.mark.parametrize(
    'run, launches, moved, peak',
    [
        (lambda maps: maps[1:].T.flatten().view(3, 5).unsqueeze(0), 1, 120, 60),
        (lambda maps: torch.empty_like(maps), 0, 0, 80),
        (lambda maps: torch.zeros_like(maps), 1, 80, 80),
        (lambda maps: maps.new_ones(3), 1, 12, 12),
        (lambda maps: maps.add_(1), 1, 160, 0),
        (lambda maps: maps[0].zero_(), 1, 20, 0),
        (lambda maps: maps[0].copy_(maps[1]), 1, 40, 0),
        (lambda maps: torch.mul(maps, 2, out=maps), 1, 160, 0),
        (lambda maps: torch.mul(maps[0], 2, out=maps[1]), 1, 40, 0),
        (lambda maps: maps[:1].expand(8, 5).add(1), 1, 180, 160),
        (lambda maps: maps.add(1).add(1).add(1).sum(), 4, 564, 160),
        (lambda maps: torch.where(maps > 0, maps, 0.0), 3, 288, 104),  # 0.0 is written first
    ],
)
def test_an_operator_counts_what_it_reads_and_writes(run, launches, moved, peak):
    """Of 4 x 5 float32. Views and unwritten memory cost no launch; `out`, copies and what is made
    in the likeness of a tensor do not read it; repeated values are read once; what nothing refers
    to is freed."""
    maps = meta(4, 5)
    with DeviceCost() as cost:
        run(maps)
    assert (cost.launches, cost.moved_bytes, cost.peak_bytes) == (launches, moved, peak)
    assert cost.live_bytes == 0


@pytest.mark.parametrize('name', LOSSES)
def test_nothing_is_read_back(name):
    shape = 2, 3, 40, 50
    assert cost_of(from_logits(LOSSES[name]), shape, compiles=False).launches > 0
    # a value that is read back fails
    with pytest.raises(RuntimeError, match='meta'):
        cost_of(lambda logits, labels: logits.sum() * labels.sum().item(), shape)


def test_a_kernel_that_cannot_be_planned_fails():
    from mmseg_boundary.compiled import compiled

    def kernel(maps):
        return maps * maps.sum().item()

    with compiler(True), DeviceCost(), pytest.raises(AssertionError, match='given up compiling'):
        compiled(kernel, 'test')(meta(4, 5))


# --- The losses -----------------------------------------------------------------------------------

UNITS = 'launches', 'bytes', 'peak'
# {(loss, shape): what it has, at most}. The unit of the bytes is what has to be moved: the logits
# are read twice, and the gradient is written once. That of the peak is the gradient.
BOUNDS = {
    ('cross-entropy', CITY): (6, 2.8, 3.0),
    ('cross-entropy', ADE): (6, 2.7, 3.0),
    ('EPL, w=7', CITY): (199, 38.5, 6.0),
    ('EPL, w=23', CITY): (199, 38.6, 6.0),
    ('EPL, w=23', ADE): (305, 37.5, 4.6),
    ('Kervadec', CITY): (49, 10.2, 4.4),
    ('Kervadec', ADE): (49, 9.8, 4.3),
    ('distance transform', CITY): (83, 13.7, 4.6),
    ('distance transform', ADE): (83, 13.1, 4.5),
    ('Hausdorff', CITY): (59, 13.0, 4.7),
    ('Hausdorff', ADE): (59, 12.7, 4.6),
    ('BF1', CITY): (116, 15.4, 5.5),
    ('BF1', ADE): (168, 15.1, 3.9),
}
# Inductor plans EPL's kernels for a quarter of a minute.
SLOW = ('EPL, w=7', CITY), ('EPL, w=23', ADE)
CASES = [
    pytest.param(*case, marks=[pytest.mark.slow] * (case in SLOW), id=str(case)) for case in BOUNDS
]


def goals_of(name, shape):
    """What they are to have, in time."""
    launches = 200 if shape == CITY else 400
    return launches, 40 if 'EPL' in name else 20, 7 if name[:3] in ('EPL', 'BF1') else 5


@pytest.mark.parametrize('name, shape', CASES)
def test_a_loss_costs_no_more_than_it_did(name, shape):
    loss = from_logits(LOSSES[name]) if name in LOSSES else cross_entropy
    cost, gradient = cost_of(loss, shape), 4 * torch.Size(shape).numel()
    found = cost.launches, cost.moved_bytes / gradient / 3, cost.peak_bytes / gradient
    for value, bound, unit in zip(found, BOUNDS[name, shape], UNITS, strict=True):
        assert value <= bound + 0.05, f'{unit}: {cost.launches_at}, {cost.bytes_at}'
        assert value > 0.8 * bound, f'{unit}: lower the bound'


def test_the_page_shows_the_bounds():
    page = (ROOT / 'docs/performance.md').read_text()
    for (name, shape), bounds in BOUNDS.items():
        cells = [name, '×'.join(map(str, shape))]
        for bound, goal in zip(bounds, goals_of(name, shape), strict=True):
            cells.append(f'{bound}' if bound <= goal else f'**{bound}** ({goal})')
        assert f'| {" | ".join(cells)} |' in page

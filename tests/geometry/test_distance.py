"""The distance engines against scipy's exact transform, and against each other."""

import threading

import cv2
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch.utils.data import DataLoader

from mmseg_boundary import compiled
from mmseg_boundary.geometry import distance
from mmseg_boundary.geometry.distance import (
    TOLERANCE,
    chamfer_distance_to,
    distance_to,
    distance_to_boundary,
    distance_to_others,
    distances_between,
    signed_distances,
    torch_distance_to,
)
from mmseg_boundary.labels import encode
from tests.support.engines import as_on_a_device, without_opencv
from tests.support.skips import needs_gpu


def scipy_engine(mask, max_distance=None):
    """`distance_to` where OpenCV is not installed."""
    with without_opencv():
        return distance_to(mask, max_distance)


def cuda_engine(mask, max_distance=None):
    return distance_to(mask.cuda(), max_distance).cpu()


def small_steps(mask, max_distance=None):
    """The torch engine row by row, as for masks too large for one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, '_STEP_SIZE', 1)
        return torch_distance_to(mask, max_distance)


def in_one_pass(mask, max_distance=None):
    """The torch engine as it is compiled, uncompiled, in short blocks."""
    with as_on_a_device() as patch:
        patch.setattr(distance, '_BLOCK', 4)
        return torch_distance_to(mask, max_distance)


ENGINES = [
    distance_to,
    scipy_engine,
    torch_distance_to,
    small_steps,
    in_one_pass,
    pytest.param(cuda_engine, marks=needs_gpu),
]
each_engine = pytest.mark.parametrize('engine', ENGINES)


def oracle(mask):
    """scipy's transform of one mask; inf for an empty one, where scipy's is meaningless."""
    if not mask.any():
        return torch.full(mask.shape, torch.inf)
    return torch.from_numpy(distance_transform_edt(~mask.numpy())).float()


def masks():
    """A (1 to 3, H, W) mask of random density; some masks empty, some full."""

    def draw(shape, density, seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(shape, generator=generator) < density

    return st.builds(
        draw,
        st.tuples(st.integers(1, 3), st.integers(1, 23), st.integers(1, 23)),
        st.sampled_from((0.0, 0.01, 0.1, 0.5, 0.99, 1.0)),
        st.integers(0, 10_000),
    )


def far_apart(ours, theirs):
    """The largest difference; inf where only one side is."""
    return torch.where(ours == theirs, 0, (ours - theirs).abs()).max().item()


@each_engine
def test_agrees_with_scipy(engine):
    @given(masks())
    def agrees(mask):
        found = engine(mask)
        assert found.dtype == torch.float32
        assert far_apart(found, torch.stack([oracle(each) for each in mask])) < TOLERANCE

    agrees()


def drawn(*pixels):
    mask = torch.zeros(40, 30, dtype=torch.bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


SHAPES = {
    'single pixel': drawn((17, 4)),
    'corner': drawn((39, 29)),
    'thin line': drawn((slice(None), 7)),
    'diagonal': torch.eye(40, dtype=torch.bool)[:, :30].contiguous(),
    'touching': drawn((slice(3, 9), slice(2, 8)), (slice(9, 15), slice(8, 20))),
    'ring': drawn((slice(5, 30), slice(5, 25))) ^ drawn((slice(6, 29), slice(6, 24))),
    'full': drawn((slice(None), slice(None))),
    'empty': drawn(),
}


@each_engine
@pytest.mark.parametrize('shape', SHAPES)
def test_agrees_with_scipy_on(engine, shape):
    assert far_apart(engine(SHAPES[shape]), oracle(SHAPES[shape])) < TOLERANCE


@each_engine
@pytest.mark.parametrize('max_distance', [0, 1, 1.5, 4, 10**6])
def test_max_distance_keeps_the_near_ones(engine, max_distance):
    mask = SHAPES['touching']
    exact = oracle(mask)
    expected = exact.where(exact <= max_distance, torch.inf)
    assert far_apart(engine(mask, max_distance), expected) < TOLERANCE


@each_engine
def test_leading_dimensions_and_strides_do_not_matter(engine):
    mask = torch.rand(2, 3, 9, 8) < 0.1
    expected = torch.stack([oracle(each) for each in mask.flatten(0, 1)]).view(2, 3, 9, 8)
    assert far_apart(engine(mask), expected) < TOLERANCE
    assert far_apart(engine(mask.mT), expected.mT) < TOLERANCE
    assert far_apart(engine(mask[0, 0]), expected[0, 0]) < TOLERANCE


@pytest.mark.parametrize('metric', ['chessboard', 'taxicab'])
@given(mask=masks())
def test_chamfer_distances_follow_from_their_definition(metric, mask):
    found = chamfer_distance_to(mask, metric)
    for each, distances in zip(mask, found):
        sites = each.nonzero()
        pixels = torch.ones_like(each).nonzero()
        steps = (pixels[:, None] - sites[None]).abs()
        lengths = steps.amax(2) if metric == 'chessboard' else steps.sum(2)
        if len(sites):
            assert distances.flatten().equal(lengths.amin(1).float())
        else:
            assert distances.isinf().all()


# --- Threads --------------------------------------------------------------------------------------


@pytest.fixture
def threads():
    """Sets the numbers of torch and OpenCV, for the test alone."""
    before = torch.get_num_threads(), cv2.getNumThreads()

    def set_numbers(of_torch, of_cv2):
        torch.set_num_threads(of_torch)
        cv2.setNumThreads(of_cv2)

    yield set_numbers
    set_numbers(*before)


def test_the_number_of_threads_changes_no_bit(threads):
    """OpenCV alone has another engine where it has one thread. MMEngine sets its number to 0."""
    masks = torch.zeros(3, 700, 900, dtype=torch.bool)
    masks[0, 13, 7] = masks[1, 650, 800:] = masks[2, 100:300, 400] = True
    found = []
    for numbers in ((1, 0), (1, 1), (2, 1), (1, 2), (3, 2)):
        threads(*numbers)
        found.append(distance_to(masks))
    assert all(each.equal(found[0]) for each in found)
    assert far_apart(found[0], torch.stack([oracle(each) for each in masks])) < TOLERANCE


def test_no_thread_and_no_setting_stays_behind(threads):
    threads(3, 2)
    before = threading.active_count(), cv2.getNumThreads(), cv2.ipp.useIPP()
    distance_to(torch.rand(5, 20, 30) < 0.1)
    assert (threading.active_count(), cv2.getNumThreads(), cv2.ipp.useIPP()) == before


def test_forked_workers_compute_distances_too(threads):
    """After the parent did; they do not have its pools of threads."""
    threads(2, 2)
    masks = torch.rand(4, 2, 200, 300) < 0.01
    expected = [distance_to(mask) for mask in masks]
    loader = DataLoader(
        masks,
        batch_size=None,
        num_workers=2,
        collate_fn=distance_to,
        multiprocessing_context='fork',
        timeout=600,
    )
    assert all(map(torch.equal, loader, expected))


# --- Regions --------------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 10_000),
)
def test_the_inside_is_the_nearest_other_region(shape, seed):
    """Against two transforms per class, of the class and of all the others together."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, shape, generator=generator)  # 3: void
    regions = torch.stack([labels == k for k in range(3)], 1)
    outside, inside = distances_between(regions)
    signed = signed_distances(regions, outside, inside)
    for n in range(len(regions)):
        for k in range(3):
            region, others = regions[n, k], (regions[n].any(0) & ~regions[n, k])
            assert far_apart(outside[n, k], oracle(region)) < TOLERANCE
            within = [distances.where(region, 0) for distances in (inside[n, 0], oracle(others))]
            assert far_apart(*within) < TOLERANCE
            expected = torch.where(region, 1 - oracle(others), oracle(region))
            expected = expected.where(expected.isfinite(), 0)
            assert far_apart(signed[n, k], expected) < TOLERANCE


def test_void_is_on_neither_side():
    """A gap of two void pixels: the boundary lies in its middle. 0 0 0 0 void void 1 1 1 1"""
    row = torch.tensor([[[0, 0, 0, 0, 9, 9, 1, 1, 1, 1]]])
    regions = torch.stack([row == 0, row == 1], 1)
    outside, inside = distances_between(regions)
    assert inside[0, 0, 0].tolist() == pytest.approx([6, 5, 4, 3, 1, 1, 3, 4, 5, 6], abs=1e-3)
    signed = signed_distances(regions, outside, inside)
    assert signed[0, 1, 0].tolist() == pytest.approx([6, 5, 4, 3, 2, 1, -2, -3, -4, -5], abs=1e-3)


@pytest.mark.parametrize(
    'regions', [torch.zeros(1, 2, 3, 4), torch.tensor([1.0, 0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)]
)
def test_without_another_side_there_is_no_distance(regions):
    """All void, and one region that covers everything."""
    regions = regions > 0
    outside, inside = distances_between(regions)
    assert inside[0, 0][regions[0].any(0)].isinf().all()
    assert signed_distances(regions, outside, inside).eq(0).all()


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from((0.1, 0.5, 0.9)),
    st.integers(0, 10_000),
)
def test_one_transform_finds_the_nearest_other_region(shape, void, seed):
    """At void, the nearest of any. The other form is for devices without a compiler."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < void] = 3
    regions = torch.stack([labels == k for k in range(3)], 1)
    with as_on_a_device():
        found = distance_to_others(regions)
    assert found.equal(distance._to_others_by_planes(regions).sqrt())
    for n in range(len(regions)):
        for own in (*regions[n], ~regions[n].any(0)):
            within = [
                each.where(own, 0) for each in (found[n, 0], oracle(regions[n].any(0) & ~own))
            ]
            assert far_apart(*within) < TOLERANCE


@pytest.mark.parametrize('metric', ['euclidean', 'chessboard', 'taxicab'])
def test_the_nearest_other_region_is_the_inside(metric):
    labels = torch.arange(60).view(1, 1, 6, 10) // 4 % 4  # 3: void
    regions = labels == torch.arange(3).view(3, 1, 1)
    _, inside = distances_between(regions, metric)
    assert distance_to_others(regions, metric).equal(inside)
    with as_on_a_device():
        torch.testing.assert_close(distance_to_others(regions, metric), inside)


@pytest.mark.parametrize('width', [31, 32, 33, 64, 100])
def test_blocks_of_columns_see_each_other(width):
    mask = torch.rand(2, 7, width, generator=torch.manual_seed(width)) < 0.02
    assert distance._along_rows(mask).equal(distance._scanned_along_rows(mask))


@pytest.mark.slow  # it compiles
@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=needs_gpu)])
def test_the_compiled_kernels_agree_with_the_plain_ones(device, monkeypatch):
    """To the last bit, for whatever shape they were compiled for."""
    scattered = torch.rand(3, 70, 90, generator=torch.manual_seed(0)) < 0.01
    masks = [scattered, scattered[:1], scattered[:2, :9, :64], torch.zeros(2, 5, 6, dtype=bool)]
    labels = torch.randint(4, (2, 9, 11), generator=torch.manual_seed(1))
    labels = labels.repeat_interleave(7, 1).repeat_interleave(7, 2)
    labels[scattered[:2, :63, :77]] = 3  # void
    regions = labels.unsqueeze(1) == torch.arange(3).view(3, 1, 1)
    batches = [regions, regions[:1], regions[:, :2, :30, :64]]
    plain = [torch_distance_to(mask) for mask in masks]
    others = [distance._to_others_by_planes(batch).sqrt() for batch in batches]
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.setattr(compiled, '_warn', pytest.fail)
    for mask, expected in zip(masks, plain, strict=True):
        assert torch.equal(torch_distance_to(mask.to(device)).cpu(), expected)
    monkeypatch.setattr(distance, 'is_queued', lambda tensor: True)
    for batch, expected in zip(batches, others, strict=True):
        assert torch.equal(distance_to_others(batch.to(device)).cpu(), expected)


def test_what_torch_cannot_compile_runs_in_steps(monkeypatch):
    """As they stand, the compiled kernels would hold a map for every row."""
    labels = torch.randint(200, (1, 1, 40, 50), generator=torch.manual_seed(0))
    mask = labels == torch.arange(3).view(3, 1, 1)
    expected = torch_distance_to(mask), distance_to_others(mask)

    def given_up(*args, **kwargs):
        raise RuntimeError('no more variants')

    monkeypatch.setattr(torch, 'compile', lambda kernel, **options: given_up)
    monkeypatch.setattr(distance, 'is_compiled', lambda masks: True)
    monkeypatch.setattr(distance, 'is_queued', lambda masks: True)
    kernels = '_along_rows', '_over_rows', '_to_others'
    for name in kernels:
        monkeypatch.setattr(distance, name, lambda *args: pytest.fail('held'))
    with pytest.warns(UserWarning, match='given up') as warned:
        assert torch.equal(torch_distance_to(mask), expected[0])
        torch.testing.assert_close(distance_to_others(mask), expected[1])
    assert len(warned) == len(kernels)


@pytest.mark.parametrize('regions', [[[0, 0, 1, 1, 2, 3]], [[3, 3, 1, 1, 3, 3]], [[3] * 6]])
def test_a_device_finds_the_nearest_other_region_too(regions, monkeypatch):
    """Of three, and void."""
    regions = (torch.tensor(regions) == torch.arange(3).view(3, 1, 1)).unsqueeze(0)
    expected = distances_between(regions)
    monkeypatch.setattr(distance, 'is_queued', lambda tensor: True)
    torch.testing.assert_close(distances_between(regions), expected)


@pytest.mark.parametrize('width', [10_922, 10_923, 16_383, 16_384])
def test_wide_rows_do_not_overflow(width):
    mask = torch.zeros(2, width, dtype=torch.bool)
    mask[0, 0] = True
    distances = torch_distance_to(mask)
    assert distances[0, -1] == width - 1
    assert torch_distance_to(mask.flip(1))[0, 0] == width - 1
    assert torch_distance_to(mask[1:]).isinf().all()


def test_the_boundary_of_lower_and_right_neighbors_and_void_makes_none():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 255, 255, 2]]])
    distances = distance_to_boundary(encode(labels, 3).regions)
    expected = [(0, 1), (1, 1), (1, 3)]
    assert (distances == 0).nonzero()[:, 1:].tolist() == [list(pixel) for pixel in expected]
    alone = torch.zeros(1, 3, 4, dtype=torch.long)
    assert distance_to_boundary(encode(alone, 3).regions).isinf().all()


@needs_gpu
def test_on_cuda_nothing_is_read_back():
    regions = torch.rand(2, 3, 20, 30, device='cuda') < 0.1
    torch.cuda.set_sync_debug_mode('error')
    try:
        signed_distances(regions, *distances_between(regions))
        distance_to(regions, 5)
    finally:
        torch.cuda.set_sync_debug_mode('default')

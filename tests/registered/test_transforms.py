"""The random transforms, against OpenCV and by their distributions."""

import cv2
import numpy as np
import pytest
from mmcv.transforms.utils import cache_random_params
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules

import mmseg_boundary.registered  # noqa: F401

SIZE = (36, 50)


def build(kind, **arguments):
    register_all_modules()
    return TRANSFORMS.build(dict(type=kind, **arguments))


def sample(size=SIZE, seed=0):
    """As the loading transforms leave it."""
    rng = np.random.default_rng(seed)
    return dict(
        img=rng.integers(0, 256, (*size, 3), np.uint8),
        gt_seg_map=rng.choice(np.array([0, 7, 255], np.uint8), size),
        seg_fields=['gt_seg_map'],
        img_shape=size,
        ori_shape=size,
    )


def test_the_scale_is_a_factor_of_the_images_own_size():
    """Uniform between both ends, whatever the size, and the same in both directions."""
    np.random.seed(0)
    scale = build('RandomScale', ratio_range=(0.5, 2.0))
    ratios = []
    for size in [(100, 200), (300, 40)] * 100:
        done = scale(sample(size))
        height, width = done['img'].shape[:2]
        assert done['img_shape'] == (height, width) == done['gt_seg_map'].shape
        assert done['scale_factor'] == (width / size[1], height / size[0])
        assert done['ori_shape'] == size
        assert abs(height / size[0] - width / size[1]) <= 0.5 / size[0] + 0.5 / size[1]
        ratios.append(max(height, width) / max(size))
    assert 0.5 <= min(ratios) < 0.53 and 1.97 < max(ratios) <= 2
    assert abs(np.mean(ratios) - 1.25) < 0.1


def test_images_are_resized_bilinearly_and_labels_to_the_nearest_pixel():
    given = sample()
    done = build('RandomScale', ratio_range=(0.75, 0.75))(given.copy())
    size = (38, 27)  # 37.5 is rounded as OpenCV rounds it, to the even number
    assert np.array_equal(done['img'], cv2.resize(given['img'], size))
    nearest = cv2.resize(given['gt_seg_map'], size, interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(done['gt_seg_map'], nearest)
    other = build('RandomScale', ratio_range=(0.75, 0.75), interpolation='bicubic')(given.copy())
    bicubic = cv2.resize(given['img'], size, interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(other['img'], bicubic)
    assert np.array_equal(other['gt_seg_map'], nearest)


def test_the_smallest_image_keeps_a_pixel():
    done = build('RandomScale', ratio_range=(0.1, 0.2))(sample((1, 20)))
    assert done['img'].shape[0] == 1 and 2 <= done['img'].shape[1] <= 4


@pytest.mark.parametrize('kernel_size, sigma', [(5, 0), (None, 0.8), (3, 2.0)])
def test_the_blur_is_opencvs(kernel_size, sigma):
    given = sample()
    blur = build('RandomGaussianBlur', prob=1, kernel_size=kernel_size, sigma=sigma)
    done = blur({**given, 'img': given['img'].copy()})
    size = (kernel_size or 0,) * 2
    assert np.array_equal(done['img'], cv2.GaussianBlur(given['img'], size, sigma))
    assert not np.array_equal(done['img'], given['img'])
    assert np.array_equal(done['gt_seg_map'], given['gt_seg_map'])
    if (kernel_size, sigma) == (5, 0):
        binomial = np.array([1, 4, 6, 4, 1]) / 16
        expected = cv2.filter2D(given['img'].astype(float), -1, np.outer(binomial, binomial))
        assert np.abs(done['img'] - expected).max() <= 0.5 + 1e-6


def test_the_sigma_is_uniform_and_the_probability_is_met(monkeypatch):
    sigmas = []
    monkeypatch.setattr(cv2, 'GaussianBlur', lambda img, size, sigma: sigmas.append(sigma) or img)
    np.random.seed(0)
    blur = build('RandomGaussianBlur', prob=0.5, sigma=(0.15, 1.15))
    for _ in range(400):
        blur(sample((2, 2)))
    assert 160 < len(sigmas) < 240
    assert 0.15 <= min(sigmas) < 0.2 and 1.1 < max(sigmas) <= 1.15
    assert abs(np.mean(sigmas) - 0.65) < 0.06


def test_no_blur_leaves_the_image():
    """Where the dice say so, and at a sigma of 0, which OpenCV refuses without a kernel."""
    given = sample()
    for arguments in (dict(prob=0, kernel_size=5), dict(prob=1, sigma=(0, 1e-300))):
        done = build('RandomGaussianBlur', **arguments)({**given, 'img': given['img'].copy()})
        assert np.array_equal(done['img'], given['img'])
    blur = build('RandomGaussianBlur', prob=1, sigma=(0, 1))
    blur._random_sigma = lambda: 0.0
    assert np.array_equal(blur(given.copy())['img'], given['img'])


@pytest.mark.parametrize(
    'kind, arguments, method',
    [
        ('RandomScale', dict(ratio_range=(0.5, 2.0)), '_random_ratio'),
        ('RandomGaussianBlur', dict(prob=0.5, sigma=(0.1, 2.0)), '_random_sigma'),
    ],
)
def test_the_randomness_can_be_shared(kind, arguments, method):
    """MMCV's `cache_random_params`, by which several images get the same."""
    np.random.seed(0)
    transform = build(kind, **arguments)
    draw = lambda: getattr(transform, method)()  # noqa: E731
    assert len({draw() for _ in range(20)}) > 5
    with cache_random_params(transform):
        assert len({draw() for _ in range(20)}) == 1
        first, second = (transform(sample())['img'] for _ in range(2))
        assert np.array_equal(first, second)


@pytest.mark.parametrize(
    'kind, arguments, words',
    [
        ('RandomScale', dict(ratio_range=(2.0, 0.5)), 'the first not above the second'),
        ('RandomScale', dict(ratio_range=(0.5,)), 'give two numbers'),
        ('RandomScale', dict(ratio_range=(0, 2.0)), 'give factors above 0'),
        ('RandomGaussianBlur', dict(prob=1.5, kernel_size=5), 'prob=1.5; give one from 0 to 1'),
        ('RandomGaussianBlur', dict(kernel_size=4), 'kernel_size=4; give an odd number'),
        ('RandomGaussianBlur', dict(sigma=(1, 0.5)), 'the first not above the second'),
        ('RandomGaussianBlur', dict(sigma=-1, kernel_size=5), 'a sigma above 0, or both'),
        ('RandomGaussianBlur', dict(), 'give an odd kernel_size, a sigma above 0, or both'),
    ],
)
def test_wrong_arguments_are_a_sentence(kind, arguments, words):
    with pytest.raises(ValueError, match=words):
        build(kind, **arguments)


def test_what_they_are_is_printed():
    assert repr(build('RandomScale', ratio_range=[0.5, 2.0])) == (
        "RandomScale(ratio_range=(0.5, 2.0), resize_cfg={'type': 'Resize'})"
    )
    assert repr(build('RandomGaussianBlur', kernel_size=5)) == (
        'RandomGaussianBlur(prob=0.5, kernel_size=5, sigma=(0, 0))'
    )

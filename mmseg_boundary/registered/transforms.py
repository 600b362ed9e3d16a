"""Random transforms of the published protocols that MMSegmentation lacks."""

from numbers import Real

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Resizes an image and its label by a random factor of their own size.

    MMCV's `RandomResize` multiplies a fixed size instead: it enlarges small images first.

    Args:
        ratio_range: the lowest and the highest factor, between which it is uniform.
        resize_type: the transform that resizes.
        resize_kwargs: its other arguments, such as `interpolation`; images are resized bilinearly
            and labels to the nearest pixel by default.

    Raises:
        ValueError: `ratio_range` is no such pair.
    """

    def __init__(
        self, ratio_range: tuple[float, float], resize_type: str = 'Resize', **resize_kwargs
    ) -> None:
        self.ratio_range = _ordered('RandomScale', 'ratio_range', ratio_range)
        if self.ratio_range[0] <= 0:
            raise ValueError(
                f'RandomScale got ratio_range={ratio_range!r}; give factors above 0, such as '
                '(0.5, 2.0).'
            )
        self.resize_cfg = dict(type=resize_type, **resize_kwargs)
        self.resize = TRANSFORMS.build({'scale': 0, **self.resize_cfg})

    @cache_randomness
    def _random_ratio(self) -> float:
        return np.random.uniform(*self.ratio_range)

    def transform(self, results: dict) -> dict:
        """Resizes what `resize_type` resizes; `img_shape`, `scale` and `scale_factor` are set."""
        height, width = results['img'].shape[:2]
        ratio = self._random_ratio()
        # Sides instead of the factor: a side of MMCV's may be 0 pixels long.
        self.resize.scale = max(1, round(width * ratio)), max(1, round(height * ratio))
        return self.resize(results)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(ratio_range={self.ratio_range}, resize_cfg={self.resize_cfg})'
        )


@TRANSFORMS.register_module()
class RandomGaussianBlur(BaseTransform):
    """Blurs an image with a probability; its label stays.

    Args:
        prob: the probability.
        kernel_size: the side of the kernel in pixels, odd; None takes OpenCV's for the sigma.
        sigma: the standard deviation in pixels, or the lowest and the highest, between which it is
            uniform; 0 takes OpenCV's for the kernel, binomial weights for one of 5 pixels.

    Raises:
        ValueError: `prob` is no probability, the kernel is even, `sigma` is negative or no ordered
            pair, or neither the kernel nor the sigma is given.
    """

    def __init__(
        self,
        prob: float = 0.5,
        kernel_size: int | None = None,
        sigma: float | tuple[float, float] = 0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomGaussianBlur got prob={prob!r}; give one from 0 to 1.')
        if kernel_size is not None and not (kernel_size > 0 and kernel_size % 2):
            raise ValueError(
                f'RandomGaussianBlur got kernel_size={kernel_size!r}; give an odd number, or None.'
            )
        given = (sigma, sigma) if isinstance(sigma, Real) else sigma
        self.sigma = _ordered('RandomGaussianBlur', 'sigma', given)
        if self.sigma[0] < 0 or (kernel_size is None and self.sigma[1] == 0):
            raise ValueError(
                f'RandomGaussianBlur got kernel_size={kernel_size!r} and sigma={sigma!r}; give an '
                'odd kernel_size, a sigma above 0, or both.'
            )
        self.prob = prob
        self.kernel_size = kernel_size

    @cache_randomness
    def _random_sigma(self) -> float | None:
        """None where the image stays as it is."""
        blurs, sigma = np.random.rand() < self.prob, np.random.uniform(*self.sigma)
        return sigma if blurs else None

    def transform(self, results: dict) -> dict:
        """Blurs `img`."""
        sigma = self._random_sigma()
        size = self.kernel_size or 0
        if sigma is not None and (sigma or size):
            results['img'] = cv2.GaussianBlur(results['img'], (size, size), sigma)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, kernel_size={self.kernel_size}, '
            f'sigma={self.sigma})'
        )


def _ordered(name: str, argument: str, given: tuple[float, float]) -> tuple[float, float]:
    pair = tuple(given)
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise ValueError(
            f'{name} got {argument}={given!r}; give two numbers, the first not above the second.'
        )
    return pair

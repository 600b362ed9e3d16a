"""Edges of images: Sobel's by the definition, Canny's by OpenCV."""

import math

import cv2
import pytest
import torch

from mmseg_boundary.geometry.image_edges import canny_edges, sobel_edges
from tests.support.skips import needs_gpu


def naive_sobel(image):
    """Of one channel, pixel by pixel."""
    height, width = image.shape

    def at(row, col):
        return image[min(max(row, 0), height - 1), min(max(col, 0), width - 1)].item()

    found = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for col in range(width):
            x = y = 0.0
            for weight, along in ((1, -1), (2, 0), (1, 1)):
                x += weight * (at(row + along, col + 1) - at(row + along, col - 1))
                y += weight * (at(row + 1, col + along) - at(row - 1, col + along))
            found[row, col] = math.sqrt((x * x + y * y) / 2) / 4
    return found


@pytest.mark.parametrize('size', [(7, 9), (1, 5), (4, 1), (1, 1)])
def test_sobel_is_the_definition(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64)
    expected = [torch.stack(list(map(naive_sobel, image))).amax(0) for image in images]
    torch.testing.assert_close(sobel_edges(images).squeeze(1), torch.stack(expected))


def test_sobel_is_opencvs():
    image = torch.rand(1, 1, 12, 15, generator=torch.Generator().manual_seed(1))
    x, y = (
        cv2.Sobel(image[0, 0].numpy(), cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE)
        for order in ((1, 0), (0, 1))
    )
    expected = ((torch.from_numpy(x) ** 2 + torch.from_numpy(y) ** 2) / 2).sqrt() / 4
    torch.testing.assert_close(sobel_edges(image)[0, 0], expected)


def test_sobel_is_in_its_range():
    """The steepest images are of black and white pixels."""
    images = (torch.rand(64, 1, 5, 5, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    edges = sobel_edges(images)
    assert edges.min() >= 0 and 0.7 < edges.max() <= 1
    assert sobel_edges(torch.full((1, 3, 6, 7), 0.4)).eq(0).all()


def square():
    images = torch.zeros(2, 3, 24, 30)
    images[0, 1, 6:18, 8:20] = 0.7
    images[1] = 0.3
    return images


def test_canny_finds_the_outline():
    """Thin, closed and within a pixel of the boundary of the square; of a gray image nothing."""
    edges = canny_edges(square())
    assert edges.shape == (2, 1, 24, 30) and set(edges.unique().tolist()) == {0.0, 1.0}
    assert edges[1].eq(0).all()
    found = edges[0, 0].nonzero()
    assert 36 <= len(found) <= 52
    assert found.min(0).values.tolist()[0] in (5, 6) and found.max(0).values.tolist()[0] in (17, 18)


def test_canny_is_opencvs_of_8_bits():
    """Of images from 0 to 1; faint edges depend on the thresholds."""
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(3))
    image = torch.nn.functional.avg_pool2d(image, 3, 1)
    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    expected = torch.from_numpy(cv2.Canny(pixels, 10, 100)) > 0
    assert canny_edges(image)[0, 0].bool().equal(expected) and expected.any()
    assert canny_edges(image, 10, 1000).sum() < canny_edges(image).sum()
    assert canny_edges(image[:, :1]).shape == (1, 1, 18, 22)


@needs_gpu
def test_on_a_gpu():
    images = square().cuda()
    assert canny_edges(images).equal(canny_edges(square()).cuda())
    sobel_edges(images)
    torch.cuda.set_sync_debug_mode('error')
    try:
        edges = sobel_edges(images)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    torch.testing.assert_close(edges.cpu(), sobel_edges(square()))

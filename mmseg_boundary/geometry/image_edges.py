"""Edges of images."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def sobel_edges(images: Tensor) -> Tensor:
    """How fast images change, by Sobel's filters, of their channel that changes fastest.

    The image border is repeated beyond it, so that it is no edge.

    >>> sobel_edges(torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]]))
    tensor([[[[0.0000, 0.0000, 0.7071, 0.7071, 0.0000]]]])

    Args:
        images: (N, C, H, W) float, from 0 (black) to 1.

    Returns:
        (N, 1, H, W) of the same type, in [0, 1]: sqrt((x^2 + y^2) / 2) / 4, x and y the filters.
    """
    padded = F.pad(images, (1,) * 4, mode='replicate')
    upper, lower = padded[..., :-2, :], padded[..., 2:, :]
    left, right = padded[..., :-2], padded[..., 2:]
    across = right - left
    down = lower - upper
    x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.hypot(x, y).amax(1, keepdim=True) / (4 * math.sqrt(2))


def canny_edges(images: Tensor, low: float = 10, high: float = 100) -> Tensor:
    """Canny's edges, by OpenCV on the CPU: of images on a device the process waits for these.

    Args:
        images: (N, C, H, W) float, from 0 (black) to 1; taken as images of 8 bits. Of several
            channels the one counts that changes fastest.
        low, high: the thresholds of the hysteresis, of the gradient of the image of 8 bits.

    Returns:
        (N, 1, H, W) of the same type and device, 1 at edges and 0 elsewhere.
    """
    import cv2

    pixels = (images.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    found = [
        torch.from_numpy(cv2.Canny(image, low, high)) > 0
        for image in pixels.contiguous().cpu().numpy()
    ]
    return torch.stack(found).unsqueeze(1).to(images)

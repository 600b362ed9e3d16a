"""Weights and images that a formula gives, the same wherever it is computed."""

import zlib

import torch


def numbers(name, shape):
    """In [0, 1), by the name: integers modulo 2^32, which no rounding moves."""
    place = torch.arange(int(torch.tensor(shape).prod()) if shape else 1)
    begin = zlib.crc32(name.encode())
    mixed = (place * place % 2**32 * 40503 + place * 2654435761 + begin) % 2**32
    return (mixed.double() / 2**32).float().reshape(shape)


def weights(shapes):
    """A state dict: convolutions that keep the scale of what they are given, normalizations that
    are none of the identity."""
    return {name: _weight(name, list(shape)) for name, shape in shapes.items()}


def _weight(name, shape):
    if name.endswith('num_batches_tracked'):
        return torch.tensor(0)
    drawn = numbers(name, shape)
    if len(shape) == 4:
        return (2 * drawn - 1) * (5 * shape[0] / drawn.numel()) ** 0.5
    if name.endswith(('running_var', 'weight')):
        return 0.75 + 0.5 * drawn
    return 0.4 * drawn - 0.2


def images(height, width):
    """(1, 3, height, width), of mean 0 and variance 1."""
    return (numbers('images', (1, 3, height, width)) - 0.5) * 12**0.5

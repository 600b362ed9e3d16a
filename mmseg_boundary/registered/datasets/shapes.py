"""Images of simple objects, drawn from a seed: a data set that needs no download.

Everything is integer arithmetic, rotations included, so that every machine draws the same pixels.
"""

from functools import lru_cache

import cv2
import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

VOID = 255

# (a, b, c) with a^2 + b^2 = c^2: turning (x, y) to (a x + b y, a y - b x) / c is exact in integers.
ROTATIONS = ((1, 0, 1), (24, 7, 25), (12, 5, 13), (15, 8, 17), (4, 3, 5))


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Lenses, tables, crosses, moons and combs on rough ground.

    A lens is a ring with a thin handle, a table has thin legs, a comb thin teeth (1 to 3 px), a
    moon ends in two tips; all boundaries but the lens's outer one are concave. Objects are turned,
    overlap and touch. Colours only hint at the class; the shape and a faint texture tell it. Void
    (255) are grey smudges and a 2 px band around every fourth object.

    The images are 'files' of the backend for `shapes://`, so whatever reads or shows files in
    MMSegmentation works on them. Images of equal seed, size and index are equal.

    Args:
        length: number of images.
        seed: images of different seeds have nothing in common; use one for each split.
        size: (height, width) in pixels, 16 or more each.
        others_as_ground: whether classes that `metainfo` leaves out become ground instead of void:
            with `metainfo=dict(classes=('ground', 'table'))` 3 % of the pixels are tables.
        kwargs: as for `BaseSegDataset`.

    Raises:
        ValueError: the images are too small to draw on, or others become ground and the first class
            is another.
    """

    METAINFO = dict(
        classes=('ground', 'lens', 'table', 'cross', 'moon', 'comb'),
        # Okabe and Ito's colours, which colour-blind people can tell apart.
        palette=[
            [60, 60, 60], [230, 159, 0], [0, 114, 178], [0, 158, 115], [240, 228, 66],
            [204, 121, 167],
        ],
    )  # fmt: skip

    def __init__(
        self,
        length: int,
        seed: int = 0,
        size: tuple[int, int] = (128, 128),
        others_as_ground: bool = False,
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        height, width = size
        if min(size) < 16:
            raise ValueError(f'size is {tuple(size)}; give a height and a width of 16 or more.')
        self.root = f'shapes://{seed}/{height}x{width}'
        self.length = length
        self.others_as_ground = others_as_ground
        classes = (metainfo or self.METAINFO).get('classes', self.METAINFO['classes'])
        if others_as_ground and classes[0] != 'ground':
            raise ValueError(
                f"others_as_ground needs 'ground' as the first class, and {classes[0]!r} is it."
            )
        super().__init__(metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry per image."""
        label_map = self.label_map
        if self.others_as_ground and label_map:
            label_map = {old: 0 if new == VOID else new for old, new in label_map.items()}
        return [
            dict(
                img_path=f'{self.root}/image/{index:06}.png',
                seg_map_path=f'{self.root}/label/{index:06}.png',
                label_map=label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for index in range(self.length)
        ]


@register_backend('shapes', prefixes='shapes')
class ShapesBackend(BaseStorageBackend):
    """Draws the file that is read: shapes://SEED/HEIGHTxWIDTH/{image,label}/INDEX.png."""

    def get(self, filepath: str) -> bytes:
        """The bytes of the PNG file."""
        seed, size, kind, name = str(filepath).removeprefix('shapes://').split('/')
        height, width = map(int, size.split('x'))
        image, label = draw(int(seed), int(name.removesuffix('.png')), height, width)
        pixels = {'image': image[..., ::-1], 'label': label}[kind]  # OpenCV writes BGR
        return cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Raises a ValueError: there are no texts here."""
        raise ValueError(f'{filepath} is an image: read it with `get`.')


@lru_cache(maxsize=2)  # the label is read right after its image
def draw(seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One image, (H, W, 3) uint8 RGB, and its label, (H, W) uint8."""
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    unit = min(height, width) // 16
    image = (
        rng.integers(90, 167)
        + rng.integers(-25, 26, 3)
        + _rough(rng, height, width)[..., None]
        + _slope(rng, height, width)
    )
    label = np.zeros((height, width), np.uint8)

    y = x = radius = 0
    for number in range(4 + height * width // (100 * unit * unit)):
        last, radius = radius, rng.integers(2 * unit, 4 * unit)
        if number and rng.integers(3):  # two of three touch the object before
            y, x = _beside(rng, y, x, (last + radius) * 3 // 4)
        if not number or not (0 <= y < height and 0 <= x < width):
            y, x = rng.integers(height), rng.integers(width)
        _paint_object(rng, image, label, y, x, radius)
    for _ in range(rng.integers(3)):
        _paint_smudge(rng, image, label, rng.integers(height), rng.integers(width), unit)

    image = _blur(image) + rng.integers(-10, 11, image.shape)
    return image.clip(0, 255).astype(np.uint8), label


def _beside(rng, y, x, distance):
    """A point on a square around (y, x)."""
    along, across = rng.integers(-distance, distance + 1), rng.choice((-distance, distance))
    return (y + along, x + across) if rng.integers(2) else (y + across, x + along)


def _paint_object(rng, image, label, y, x, radius) -> None:
    window, dy, dx = _window(label.shape, y, x, 2 * radius)
    c, u, v = _turn(rng, dy, dx)
    kind = rng.integers(1, 1 + len(SHAPES))
    mask = SHAPES[kind - 1](u, v, c, radius, rng.integers(1, 4))
    if rng.integers(4) == 0:
        label[window][_grow(_grow(mask)) & ~mask] = VOID
    label[window][mask] = kind

    colour = COLOURS[kind - 1] + rng.integers(-45, 46, 3)
    texture = rng.integers(12, 25) * TEXTURES[kind - 1](u // c, v // c)
    light = (dy * rng.integers(-20, 21) + dx * rng.integers(-20, 21)) // radius
    image[window][mask] = colour + (texture + light)[mask][:, None]


def _paint_smudge(rng, image, label, y, x, unit) -> None:
    """A grey cloud of no class."""
    window, dy, dx = _window(label.shape, y, x, 2 * unit)
    c, u, v = _turn(rng, dy, dx)
    mask = u * u + 3 * v * v <= (c * rng.integers(unit, 2 * unit)) ** 2
    label[window][mask] = VOID
    image[window][mask] = rng.integers(90, 167, (mask.sum(), 1))


def _window(shape, y, x, reach):
    """The part of the image within `reach` of (y, x), and its coordinates relative to there."""
    top, left = max(y - reach, 0), max(x - reach, 0)
    bottom, right = min(y + reach + 1, shape[0]), min(x + reach + 1, shape[1])
    dy, dx = np.arange(top, bottom)[:, None] - y, np.arange(left, right)[None] - x
    return (slice(top, bottom), slice(left, right)), dy, dx


def _turn(rng, dy, dx):
    """A random rotation: (c, u, v) with u and v in 1/c pixels."""
    a, b, c = ROTATIONS[rng.integers(len(ROTATIONS))]
    u, v = a * dx + b * dy, a * dy - b * dx
    for _ in range(rng.integers(4)):
        u, v = v, -u
    return c, u, v


def _lens(u, v, c, r, thin):
    q = u * u + v * v
    ring = (q <= (3 * r * c // 4) ** 2) & (q > (3 * r * c // 8) ** 2)
    handle = (2 * abs(v) < thin * c) & (3 * u >= 2 * r * c) & (2 * u <= 3 * r * c)
    return ring | handle


def _table(u, v, c, r, thin):
    top = (abs(u) <= r * c) & (v <= -r * c // 6) & (v >= -2 * r * c // 3)
    leg = abs(2 * abs(u) - r * c) < thin * c
    return top | leg & (v > -r * c // 6) & (v <= r * c)


def _cross(u, v, c, r, thin):
    long, short = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    return (long <= r * c) & (3 * short <= r * c)


def _moon(u, v, c, r, thin):
    bite = u + 3 * r * c // 5
    return (u * u + v * v <= (r * c) ** 2) & (bite * bite + v * v > (r * c) ** 2)


def _comb(u, v, c, r, thin):
    spine = (abs(u) <= r * c) & (v <= -r * c // 4) & (v >= -3 * r * c // 4)
    tooth = (u + r * c) % ((thin + 4) * c) < thin * c
    return spine | tooth & (abs(u) <= r * c) & (v > -r * c // 4) & (v <= 3 * r * c // 4)


SHAPES = (_lens, _table, _cross, _moon, _comb)

# The means: the colours of single objects overlap widely.
COLOURS = np.array(((170, 100, 70), (90, 120, 180), (70, 160, 110), (180, 170, 80), (170, 90, 160)))

# -1 or 1 at the pixel (u, v) of the object's own frame.
TEXTURES = (
    lambda u, v: 2 * (u * u + v * v >> 6 & 1) - 1,
    lambda u, v: 2 * (v >> 1 & 1) - 1 + 0 * u,
    lambda u, v: 2 * ((u >> 1) + (v >> 1) & 1) - 1,
    lambda u, v: 2 * (u + v >> 1 & 1) - 1,
    lambda u, v: 2 * (u >> 1 & 1) - 1 + 0 * v,
)


def _rough(rng, height, width):
    """Coarse blocks of random brightness, softened."""
    blocks = rng.integers(-18, 19, (height // 4 + 1, width // 4 + 1))
    pixels = blocks.repeat(4, 0).repeat(4, 1)[:height, :width, None]
    return _blur(_blur(pixels))[..., 0]


def _slope(rng, height, width):
    """A brightness gradient of its own in each channel."""
    y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    return (y * rng.integers(-40, 41, 3)) // height + (x * rng.integers(-40, 41, 3)) // width


def _blur(image):
    """Binomial weights 1 2 1 in both directions, so that boundaries mix as in a photograph."""
    p = np.pad(image, ((1, 1), (0, 0), (0, 0)), 'edge')
    image = p[:-2] + 2 * p[1:-1] + p[2:]
    p = np.pad(image, ((0, 0), (1, 1), (0, 0)), 'edge')
    return (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) >> 4


def _grow(mask):
    """The mask and its 4-neighbours."""
    p = np.pad(mask, 1)
    return mask | p[:-2, 1:-1] | p[2:, 1:-1] | p[1:-1, :-2] | p[1:-1, 2:]

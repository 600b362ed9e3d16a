"""Cuts the tiles of Inria's aerial images into patches, and makes labels of 0 and 1.

python tools/dataset_converters/inria_aerial.py AerialImageDataset data/InriaAerial --nproc 4

AerialImageDataset is the published folder, whose train/images and train/gt have 180 tiles of
5000x5000: 36 of each of five cities. The first five of each are for validation, as the data set's
page proposes. Patches of 500x500 do not overlap; those of another --size overlap as little and as
evenly as they can. A conversion that was broken off goes on where it was.
"""

import argparse
import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_parallel_progress, track_progress

from mmseg_boundary.files import UnwrittenFile, atomic_write

CITIES = ('austin', 'chicago', 'kitsap', 'tyrol-w', 'vienna')
TILES = [f'{city}{number}' for city in CITIES for number in range(1, 37)]
VALIDATION = 5
BUILDING = 255


class UnfitSource(ValueError):
    """A file is missing or is not what it should be."""


def main() -> None:
    """Cuts what is not yet cut."""
    parser = argparse.ArgumentParser(description="Convert Inria's aerial images")
    parser.add_argument('source', type=Path, help='folder AerialImageDataset, with train in it')
    parser.add_argument('target', type=Path, help='folder for img_dir and ann_dir')
    parser.add_argument('--size', type=int, default=500, help='side of a patch in pixels')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes')
    parser.add_argument('--partial', action='store_true', help='convert what is there of 180')
    args = parser.parse_args()
    try:
        if args.size < 1:
            raise UnfitSource(f'--size got {args.size}; give 1 or more pixels.')
        tiles = tiles_in(args.source, args.partial)
        print(f'{len(tiles)} tiles from {args.source} to {args.target}')
        work = partial(convert, args.source / 'train', args.target, args.size)
        if args.nproc > 1:
            done = track_parallel_progress(work, tiles, args.nproc)
        else:
            done = track_progress(work, tiles)
    except (UnfitSource, UnwrittenFile) as error:
        print()  # ends the line of the progress bar
        raise SystemExit(str(error)) from None
    cut, total = np.sum(done, axis=0)
    print(f'\n{cut} patches cut, {total - cut} were there already: {args.target}')


def tiles_in(source: Path, incomplete: bool) -> list[str]:
    """The names of the tiles in the source.

    Raises:
        UnfitSource: a folder or a tile is missing.
    """
    folders = [source / 'train' / name for name in ('images', 'gt')]
    for folder in folders:
        if not folder.is_dir():
            raise UnfitSource(
                f'{folder} does not exist: name the folder AerialImageDataset, in which train has '
                'images and gt.'
            )
    here = [tile for tile in TILES if (folders[0] / f'{tile}.tif').is_file()]
    missing = [tile for tile in TILES if tile not in here]
    if not here or (missing and not incomplete):
        raise UnfitSource(
            f'{folders[0]} has {len(here)} of {len(TILES)} tiles, and lacks {missing[0]}.tif: '
            'unpack all parts of the archive, or convert what is there with --partial.'
        )
    return here


def convert(source: Path, target: Path, size: int, tile: str) -> tuple[int, int]:
    """Writes each patch and then its label; returns how many it had to write, and of how many.

    Raises:
        UnfitSource: a file cannot be read, or is not what it should be.
    """
    number = int(re.sub(r'\D', '', tile))
    split = 'val' if number <= VALIDATION else 'train'
    label = read(source / 'gt' / f'{tile}.tif', cv2.IMREAD_UNCHANGED)
    if label.ndim != 2 or not np.isin(label, (0, BUILDING)).all():
        raise UnfitSource(
            f'{source / "gt" / tile}.tif is no label of 0 and {BUILDING}: unpack it again.'
        )
    label_folder, image_folder = target / 'ann_dir' / split, target / 'img_dir' / split
    corners = [
        (f'{tile}_{top}_{left}.png', top, left)
        for top in starts(label.shape[0], size)
        for left in starts(label.shape[1], size)
    ]
    missing = [corner for corner in corners if not (label_folder / corner[0]).exists()]
    if missing:
        image = read(source / 'images' / f'{tile}.tif', cv2.IMREAD_COLOR)
        if image.shape[:2] != label.shape:
            raise UnfitSource(
                f'{source / "images" / tile}.tif is {image.shape[1]}x{image.shape[0]}, and its '
                f'label is {label.shape[1]}x{label.shape[0]}: unpack both again.'
            )
        for name, top, left in missing:
            window = slice(top, top + size), slice(left, left + size)
            write(image[window], image_folder / name)
            write((label[window] == BUILDING).astype(np.uint8), label_folder / name)
    return len(missing), len(corners)


def starts(length: int, size: int) -> list[int]:
    """Where patches begin that cover a side, as few as can be, with even overlaps."""
    last = max(length - size, 0)
    gaps = -(-last // size)
    return [round(number * last / gaps) for number in range(gaps + 1)] if gaps else [0]


def read(path: Path, flag: int) -> np.ndarray:
    """The pixels of a file."""
    pixels = cv2.imread(str(path), flag) if path.is_file() else None
    if pixels is None:
        what = 'cannot be read as an image' if path.is_file() else 'does not exist'
        raise UnfitSource(f'{path} {what}: unpack all parts of the archive again.')
    return pixels


def write(pixels: np.ndarray, path: Path) -> None:
    """Writes a PNG file."""
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


if __name__ == '__main__':
    main()

"""Paints the masks of CelebAMask-HQ's parts into one label image per face.

python tools/dataset_converters/celeba_mask_hq.py CelebAMask-HQ data/CelebAMask-HQ --nproc 8

CelebAMask-HQ is the folder of CelebAMask-HQ.zip. Images become 512x512 as their masks are, in JPEG
of quality 95; labels are 0, background, and 1 to 18 in the order of PARTS, of which a later one
covers an earlier one. The splits have as many faces as in the thesis, which does not say which:
train.txt has 0 to 23199, val.txt 23200 to 28999, and test.txt 29000 to 29999. folds/ has five such
triples for its cross-validation: a fifth of the faces to test, the next tenth to validate, the rest
to train. The lists are written last. A conversion that was broken off goes on where it was.
"""

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_parallel_progress, track_progress

from mmseg_boundary.files import UnwrittenFile, atomic_write

IMAGES, MASKS = 'CelebA-HQ-img', 'CelebAMask-HQ-mask-anno'
PARTS = (
    'skin', 'nose', 'eye_g', 'l_eye', 'r_eye', 'l_brow', 'r_brow', 'l_ear', 'r_ear', 'mouth',
    'u_lip', 'l_lip', 'hair', 'hat', 'ear_r', 'neck_l', 'neck', 'cloth',
)  # fmt: skip
PER_FOLDER = 2000
SPLITS = dict(train=range(23_200), val=range(23_200, 29_000), test=range(29_000, 30_000))
COUNT = 30_000
FOLDS = 5


class UnfitSource(ValueError):
    """A file is missing or is not what it should be."""


def main() -> None:
    """Converts what is not yet converted, and writes the lists."""
    parser = argparse.ArgumentParser(description='Convert CelebAMask-HQ')
    parser.add_argument('source', type=Path, help=f'folder of {IMAGES} and {MASKS}')
    parser.add_argument('target', type=Path, help='folder for images, labels and lists')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes')
    parser.add_argument('--partial', action='store_true', help='convert what is there of 30,000')
    args = parser.parse_args()
    try:
        numbers = numbers_in(args.source, args.partial)
        left = [number for number in numbers if not label_path(args.target, number).exists()]
        print(f'{len(numbers)} faces, of which {len(numbers) - len(left)} are in {args.target}')
        work = partial(convert, args.source, args.target)
        if args.nproc > 1:
            track_parallel_progress(work, left, args.nproc, chunksize=16)
        else:
            track_progress(work, left)
        for name, members in lists().items():
            path = args.target / f'{name}.txt'
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path) as unfinished:
                unfinished.write_text(''.join(f'{n}\n' for n in numbers if n in members))
    except (UnfitSource, UnwrittenFile) as error:
        print()  # ends the line of the progress bar
        raise SystemExit(str(error)) from None
    print(f'\n{len(left)} converted: {args.target}')


def lists() -> dict[str, range | set[int]]:
    """{name of a list: its faces}."""
    found: dict[str, range | set[int]] = dict(SPLITS)
    for fold in range(FOLDS):
        first = fold * COUNT // FOLDS
        after = first + COUNT // FOLDS
        test = set(range(first, after))
        val = {number % COUNT for number in range(after, after + COUNT // 10)}
        train = set(range(COUNT)) - test - val
        found |= {f'folds/{fold}_{name}': faces for name, faces in (
            ('train', train), ('val', val), ('test', test))}  # fmt: skip
    return found


def numbers_in(source: Path, incomplete: bool) -> list[int]:
    """The numbers of the images in the source.

    Raises:
        UnfitSource: a folder or an image is missing.
    """
    for name in (IMAGES, MASKS):
        if not (source / name).is_dir():
            raise UnfitSource(
                f'{source} has no folder {name}: name the folder CelebAMask-HQ, as it is in '
                'CelebAMask-HQ.zip.'
            )
    names = [path.stem for path in (source / IMAGES).glob('*.jpg')]
    found = {int(name) for name in names if name.isdecimal()}
    numbers = [number for number in range(COUNT) if number in found]
    missing = [number for number in range(COUNT) if number not in found]
    if not numbers or (missing and not incomplete):
        raise UnfitSource(
            f'{source / IMAGES} has {len(numbers)} of {COUNT} images (0.jpg to {COUNT - 1}.jpg), '
            f'and lacks {missing[0]}.jpg: unpack CelebAMask-HQ.zip again, or convert what is there '
            'with --partial.'
        )
    return numbers


def label_path(target: Path, number: int) -> Path:
    """Of a label, which is written last: where it is, its image is too."""
    return target / 'labels' / f'{number}.png'


def convert(source: Path, target: Path, number: int) -> None:
    """Writes an image and then its label.

    Raises:
        UnfitSource: a file cannot be read, a face has no mask, or its masks have several sizes.
    """
    label = paint(source / MASKS / str(number // PER_FOLDER), number)
    height, width = label.shape
    image = read(source / IMAGES / f'{number}.jpg', cv2.IMREAD_COLOR)
    if image.shape != (height, width, 3):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    write(jpeg, target / 'images' / f'{number}.jpg')
    write(cv2.imencode('.png', label)[1], label_path(target, number))


def paint(folder: Path, number: int) -> np.ndarray:
    """The label of a face, (H, W) uint8."""
    label = None
    for index, part in enumerate(PARTS, 1):
        path = folder / f'{number:05}_{part}.png'
        if not path.exists():
            continue
        mask = read(path, cv2.IMREAD_GRAYSCALE) > 0
        if label is None:
            label = np.zeros(mask.shape, np.uint8)
        if mask.shape != label.shape:
            raise UnfitSource(
                f'{path} is {mask.shape[1]}x{mask.shape[0]}, and other masks of this face are '
                f'{label.shape[1]}x{label.shape[0]}: unpack CelebAMask-HQ.zip again.'
            )
        label[mask] = index
    if label is None:
        raise UnfitSource(
            f'{folder} has no mask of face {number} (such as {number:05}_skin.png): unpack '
            'CelebAMask-HQ.zip again.'
        )
    return label


def read(path: Path, flag: int) -> np.ndarray:
    """The pixels of a file."""
    pixels = cv2.imread(str(path), flag)
    if pixels is None:
        raise UnfitSource(f'{path} cannot be read as an image: unpack CelebAMask-HQ.zip again.')
    return pixels


def write(encoded: np.ndarray, path: Path) -> None:
    """Writes an encoded image."""
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(encoded.tobytes())


if __name__ == '__main__':
    main()

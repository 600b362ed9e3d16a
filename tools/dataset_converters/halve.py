"""Makes a half-size copy of a data set of paired folders (train, trainannot, val, valannot, …).

python tools/dataset_converters/halve.py data/CamVid data/CamVid_half

Images are averaged over each 2x2 (OpenCV's INTER_AREA); of labels, the upper left pixel of each 2x2
is kept, since an average of labels is no label. Odd rows and columns at the end are left out. All
files become PNG. `digest.txt` has a SHA-256 of all pixels, which `--check` compares: results on two
machines are results on the same images. (Decoders of JPEG may differ in a bit.)
"""

import argparse
import hashlib
from pathlib import Path

import cv2
import numpy as np

from mmseg_boundary.files import atomic_write

LABELS = 'annot'
DIGEST = 'digest.txt'


def main() -> None:
    """Makes the copy, or checks one."""
    parser = argparse.ArgumentParser(description='Make a half-size copy of a data set')
    parser.add_argument('source', type=Path, help='folder of train, trainannot, …')
    parser.add_argument('target', type=Path, help='folder for the copy')
    parser.add_argument('--check', action='store_true', help='only check the copy that is there')
    args = parser.parse_args()
    if args.check:
        check(args.target)
        return
    files = sorted(args.source.glob('*/*.jpg')) + sorted(args.source.glob('*/*.png'))
    if not files:
        raise SystemExit(f'{args.source} has no *.jpg or *.png in folders such as train; name the '
                         "data set's own folder.")  # fmt: skip
    if (args.target / DIGEST).is_file():
        raise SystemExit(f'{args.target} has a copy already: --check it, or remove it first.')
    for file in files:
        is_label = file.parent.name.endswith(LABELS)
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED if is_label else cv2.IMREAD_COLOR)
        if pixels is None or (is_label and pixels.ndim != 2):
            what = 'label image of one channel' if is_label else 'image'
            raise SystemExit(f'{file} is no {what}: restore it, or take it out of the data set.')
        write(halve_label(pixels) if is_label else halve_image(pixels), args.target, file)
    digest = digest_of(args.target)
    with atomic_write(args.target / DIGEST) as unfinished:
        unfinished.write_text(f'{digest}\n')
    print(f'{len(files)} files in {args.target}; SHA-256 of their pixels: {digest}')


def halve_image(image: np.ndarray) -> np.ndarray:
    """The mean of each 2x2 of an (H, W, 3) uint8 image."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    size = (width // 2, height // 2)
    return cv2.resize(image[:height, :width], size, interpolation=cv2.INTER_AREA)


def halve_label(label: np.ndarray) -> np.ndarray:
    """The upper left of each 2x2 of an (H, W) label image."""
    height, width = (side // 2 * 2 for side in label.shape)
    return label[:height:2, :width:2]


def write(pixels: np.ndarray, target: Path, file: Path) -> None:
    """Writes a PNG file into the folder of the same name."""
    with atomic_write(target / file.parent.name / f'{file.stem}.png') as unfinished:
        unfinished.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


def check(target: Path) -> None:
    """Ends with a sentence if a copy is not what it was when it was made."""
    if not (target / DIGEST).is_file():
        raise SystemExit(f'{target} has no {DIGEST}: make the copy first, without --check.')
    expected, found = (target / DIGEST).read_text().strip(), digest_of(target)
    if found != expected:
        raise SystemExit(
            f'The pixels of {target} have the SHA-256 {found}, and {DIGEST} says {expected}: '
            'files were changed, added or lost. Remove the copy, and make it anew.'
        )
    print(f'{target} is whole: {found}')


def digest_of(target: Path) -> str:
    """SHA-256 of names, sizes and pixels of all images."""
    digest = hashlib.sha256()
    for file in sorted(target.glob('*/*.png')):
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        digest.update(f'{file.parent.name}/{file.name} {pixels.shape}\n'.encode())
        digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


if __name__ == '__main__':
    main()

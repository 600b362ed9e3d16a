"""Draws the potential fields and equipotential lines of EPL: of a label, and of predictions.

python tools/show_potential.py label.png --class 8 --ignore-index 11
python tools/show_potential.py IMAGE CONFIG CHECKPOINT --class car --direction right

IMAGE is a file of the config's test images, its label, or its name without the suffix. Without
CONFIG it is a label. A checkpoint is of the config before it; several are drawn one below the
other. After Figs. 3, 4, 6 and 8 of Yin et al. (EPL).
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import (
    add_config_options,
    add_debug_argument,
    add_figure_arguments,
    add_net_arguments,
    add_partial_argument,
)
from mmseg_boundary.cli.errors import plain_errors, stop
from mmseg_boundary.cli.outputs import require_figure
from mmseg_boundary.cli.predicting import (
    Scene,
    pair_files,
    predict_all,
    read_images,
    read_label,
    read_nets,
    read_scene,
    require_image,
)
from mmseg_boundary.drawing.potential import (
    AXIAL,
    DIRECTIONS,
    Potentials,
    draw_potentials,
    potentials,
)
from mmseg_boundary.drawing.saving import save
from mmseg_boundary.geometry.boundary import find_boundaries
from mmseg_boundary.labels import encode, is_void
from mmseg_boundary.losses.epl.rays import PADDINGS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('image', metavar='IMAGE_OR_LABEL', help='an image of CONFIG, or a label')
    add_net_arguments(parser, nargs='*')
    parser.add_argument(
        '--class',
        dest='one_class',
        help='name or number (default: the class with the longest boundary)',
    )
    parser.add_argument(
        '--direction',
        nargs='+',
        default=AXIAL,
        help=f'of {", ".join(DIRECTIONS)} (default: {" ".join(AXIAL)})',
    )
    parser.add_argument('--kernel-size', type=int, default=7, help='odd, in pixels (default: 7)')
    parser.add_argument(
        '--padding',
        default='constant',
        help=f'beyond the image, of {", ".join(PADDINGS)} (default: constant, as the line loss; '
        'the point loss has replicate)',
    )
    parser.add_argument(
        '--ignore-index', type=int, help="void in the label (default: the data set's, else 255)"
    )
    parser.add_argument(
        '--crop',
        nargs=4,
        type=int,
        metavar=('TOP', 'LEFT', 'HEIGHT', 'WIDTH'),
        help='the pixels that are drawn (default: the class, with a margin)',
    )
    add_figure_arguments(parser, 'potential.png')
    add_partial_argument(parser)
    add_config_options(parser)
    add_debug_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    patches.install()
    require_figure(args.out, args.force)
    scene, preds, classes, ignore_index = read(args)
    with plain_errors(Config(), args.debug):
        valid = ~is_void(scene.label, ignore_index)
        if not valid.any():
            stop(f'{scene.path} has no pixel but void ({ignore_index}); choose another image.')
        num_classes = max(2, len(classes), *(probs.shape[1] for probs in preds.values()))
        if not classes:
            num_classes = max(num_classes, int(scene.label[valid].max()) + 1)
        target = encode(scene.label[None], num_classes, ignore_index)
        number = number_of(args.one_class, scene, valid, classes, num_classes)
        if not (preds or target.masks[0, number].any()):
            there = scene.label[valid].unique().tolist()
            named = ', '.join(classes[each] if classes else str(each) for each in there)
            stop(f'{scene.path} has no pixel of {name_of(number, classes)}; choose one of {named}.')
        found = potentials(target, number, preds, args.kernel_size, args.direction, args.padding)
        window = args.crop and cropped(args.crop, scene.label.shape)
        heading = (
            f'{name_of(number, classes)} in {Path(scene.path).name}: potential fields and '
            f'equipotential lines, kernel {args.kernel_size} (h = {found.num_lines})'
        )
        figure = draw_potentials(found, heading, scene.image, window or around(found))
    save(figure, args.out)


def read(args: argparse.Namespace) -> tuple[Scene, dict[str, Tensor], tuple[str, ...], int]:
    """The image, {title: probs} of all nets, the classes' names and the void label."""
    pairs = pair_files(args.nets)
    if not pairs:
        scene, preds, classes, ignore_index = read_label(args.image), {}, (), 255
    elif pairs == [(args.nets[0], [])]:
        images = read_images(args.nets[0], args.cfg_options, args.debug)
        scene = read_scene(images, require_image(images, args.image), args.debug)
        preds, classes, ignore_index = {}, images.classes, images.ignore_index
    else:
        nets = read_nets(args)
        images = nets[0].images
        scene = read_scene(images, require_image(images, args.image), args.debug)
        found = predict_all(nets, scene, args.debug)
        preds = {net.title: each.probs for net, each in zip(nets, found, strict=True)}
        classes, ignore_index = images.classes, images.ignore_index
    if args.ignore_index is not None:
        ignore_index = args.ignore_index
    return scene, preds, classes, ignore_index


def name_of(number: int, classes: tuple[str, ...]) -> str:
    return classes[number] if number < len(classes) else f'class {number}'


def number_of(
    given: str | None, scene: Scene, valid: Tensor, classes: tuple[str, ...], num_classes: int
) -> int:
    """The class that is drawn."""
    if given is None:
        at_boundaries = scene.label[find_boundaries(scene.label, valid) & valid]
        labels = at_boundaries if len(at_boundaries) else scene.label[valid]
        return int(labels.bincount().argmax())
    if given in classes:
        return classes.index(given)
    if given.isdecimal() and int(given) < num_classes:
        return int(given)
    named = f'{", ".join(classes)}, or ' if classes else ''
    stop(f'There is no class {given!r}; choose one of {named}0 to {num_classes - 1}.')


def cropped(crop: list[int], shape: torch.Size) -> tuple[slice, slice]:
    top, left, height, width = crop
    if (
        min(crop) < 0
        or min(height, width) < 2
        or top + height > shape[0]
        or left + width > shape[1]
    ):
        stop(
            f'--crop {" ".join(map(str, crop))} is not in the image of {shape[0]} x {shape[1]} '
            'pixels (height x width); give TOP LEFT HEIGHT WIDTH, 2 x 2 pixels or more.'
        )
    return slice(top, top + height), slice(left, left + width)


def around(found: Potentials) -> tuple[slice, slice]:
    """The pixels of the class, or those predicted to be of it where the label has none, with a
    margin of two rays."""
    shown = [found.label, *found.preds]
    mask = next((each.probs > 0.5 for each in shown if (each.probs > 0.5).any()), found.valid)
    margin = 2 * (found.num_lines + 1)
    rows, columns = (mask.any(axis).nonzero() for axis in (1, 0))
    return tuple(
        slice(max(0, places.min().item() - margin), places.max().item() + 1 + margin)
        for places in (rows, columns)
    )


if __name__ == '__main__':
    main()

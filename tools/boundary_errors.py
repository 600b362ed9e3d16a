"""What is predicted where a boundary is not met: another class, the boundary farther away, none?

python tools/boundary_errors.py CONFIG CHECKPOINT [CHECKPOINT ...] --tolerance 2

Over the test images of the config; each checkpoint is of the config before it. A boundary loss can
move a contour, and thin parts are what it may find; it does not tell one class from another.
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse

import torch
from prettytable import PrettyTable
from torch import Tensor

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import (
    add_config_options,
    add_debug_argument,
    add_net_arguments,
    add_partial_argument,
)
from mmseg_boundary.cli.errors import plain_errors
from mmseg_boundary.cli.predicting import Net, predict_all, read_nets, read_scene
from mmseg_boundary.metrics import count_boundary_errors
from mmseg_boundary.metrics.boundary_errors import KINDS, require_distances
from mmseg_boundary.registered.metrics import require_classes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_net_arguments(parser, nargs='+')
    parser.add_argument(
        '--tolerance', type=float, default=3, help='px within which a boundary is met (default: 3)'
    )
    parser.add_argument(
        '--reach',
        type=float,
        help='px within which one that is not met is shifted (default: four tolerances)',
    )
    add_partial_argument(parser)
    add_config_options(parser)
    add_debug_argument(parser)
    args = parser.parse_args()
    try:
        args.reach = require_distances(args.tolerance, args.reach)
    except ValueError as error:
        parser.error(str(error))
    return args


def main() -> None:
    args = parse_args()
    patches.install()
    nets = read_nets(args)
    images = nets[0].images
    with plain_errors(images.settings, args.debug):
        require_classes(images.dataset.metainfo)
    counts = count(nets, args)
    for net, found in zip(nets, counts, strict=True):
        print(f'{net.title}: shares of the boundaries in {len(images.dataset)} images, in %\n')
        for own, names in zip(found, (('true', 'missed'), ('predicted', 'invented')), strict=True):
            print(table(images.classes, own, *names), end='\n\n')
    print(
        f'met: the other map has this boundary within {args.tolerance:g} px\n'
        'other class: it has another boundary there\n'
        f'shifted: it has this one within {args.reach:g} px\n'
        f'thin: of the rest, at parts that no disk of {args.tolerance:g} px fits into'
    )


def count(nets: list[Net], args: argparse.Namespace) -> list[Tensor]:
    """The counts of each net over all test images."""
    images = nets[0].images
    classes = len(images.classes)
    counts = [torch.zeros(2, classes, len(KINDS), 2, dtype=torch.int64) for _ in nets]
    for index in range(len(images.dataset)):
        scene = read_scene(images, index, args.debug)
        preds = predict_all(nets, scene, args.debug)
        for found, each in zip(counts, preds, strict=True):
            with plain_errors(images.settings, args.debug):
                found += count_boundary_errors(
                    each.pred, scene.label, classes, args.tolerance, args.reach, images.ignore_index
                )
    return counts


def table(classes: tuple[str, ...], counts: Tensor, side: str, last: str) -> str:
    """A row for each class, and one for all of them together."""
    found = PrettyTable([side, 'px', *KINDS[:-1], last, 'thin'], align='r')
    for name, own in [*zip(classes, counts, strict=True), ('all', counts.sum(0))]:
        total, left = own.sum().item(), own[-1].sum().item()
        shares = [percent(kind, total) for kind in own.sum(1).tolist()]
        cells = [name, f'{total}', *shares, percent(own[-1, 1].item(), left)]
        found.add_row(cells, divider=name == classes[-1])
    return found.get_string()


def percent(part: float, whole: float) -> str:
    return f'{100 * part / whole:.1f}' if whole else ''


if __name__ == '__main__':
    main()

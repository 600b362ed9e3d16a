"""Draws the predictions of several checkpoints side by side, on the images where they differ most.

python tools/show_predictions.py CONFIG CHECKPOINT CONFIG CHECKPOINT --out predictions.png

The test images of the first config; a checkpoint is of the config before it. They differ most
where the largest share of the pixels with a label is not given the same class by all of them,
whoever is right. Below each prediction it says where that one is right or wrong, the others beside
the first. After Figs. 9 and 10 of Yin et al. (EPL).
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
from collections.abc import Iterator
from pathlib import Path

from prettytable import PrettyTable

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import (
    add_config_options,
    add_debug_argument,
    add_figure_arguments,
    add_net_arguments,
    add_partial_argument,
)
from mmseg_boundary.cli.errors import stop
from mmseg_boundary.cli.outputs import require_figure
from mmseg_boundary.cli.predicting import (
    Net,
    predict_all,
    read_nets,
    read_scene,
)
from mmseg_boundary.drawing.predictions import Compared, draw_predictions
from mmseg_boundary.drawing.saving import save
from mmseg_boundary.labels import is_void
from mmseg_boundary.registered.visualization import class_color


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_net_arguments(parser, nargs='+')
    parser.add_argument('--images', type=int, default=4, help='how many images (default: 4)')
    add_figure_arguments(parser, 'predictions.png')
    add_partial_argument(parser)
    add_config_options(parser)
    add_debug_argument(parser)
    args = parser.parse_args()
    if args.images < 1:
        parser.error(f'--images {args.images}: give 1 or more')
    return args


def main() -> None:
    args = parse_args()
    patches.install()
    require_figure(args.out, args.force)
    nets = read_nets(args)
    if len(nets) < 2:
        stop('There is one checkpoint; give two or more, which can differ.')
    scenes = most_different(compare(nets, args.debug), args.images)
    if not scenes[0].differing:
        stop('The checkpoints predict the same class for every pixel that has a label.')
    titles = [net.title for net in nets]
    classes, colors = classes_of(nets[0], scenes)
    heading = (
        f'The {len(scenes)} of {len(nets[0].images.dataset)} test images on which they '
        'differ in most pixels'
    )
    save(draw_predictions(scenes, titles, classes, colors, heading), args.out)
    print(table(scenes, titles))


def compare(nets: list[Net], debug: bool) -> Iterator[Compared]:
    """Every test image with what the nets predict there."""
    images = nets[0].images
    for index in range(len(images.dataset)):
        scene = read_scene(images, index, debug)
        preds = [found.pred.numpy() for found in predict_all(nets, scene, debug)]
        label, valid = scene.label.numpy(), ~is_void(scene.label, images.ignore_index).numpy()
        yield Compared(Path(scene.path).stem, scene.image, label, valid, preds)


def most_different(scenes: Iterator[Compared], count: int) -> list[Compared]:
    """The first of those that differ most; no others are kept in memory."""
    kept = []
    for scene in scenes:
        kept = sorted([*kept, scene], key=lambda each: -each.differing)[:count]
    return kept


def classes_of(net: Net, scenes: list[Compared]) -> tuple[list[str], list[list[int]]]:
    """The names and colors of the classes that are labelled or predicted."""
    names, palette = net.images.classes, net.images.dataset.metainfo.get('palette')
    largest = max(
        int(numbers.max(initial=0))
        for scene in scenes
        for numbers in (scene.label[scene.valid], *scene.preds)
    )
    classes = [*names, *(f'class {number}' for number in range(len(names), largest + 1))]
    return classes, [list(class_color(number, palette)) for number in range(len(classes))]


def table(scenes: list[Compared], titles: list[str]) -> str:
    """One row per image that is drawn."""
    found = PrettyTable(['image', 'differ', *(f'right: {title}' for title in titles)], align='r')
    for scene in scenes:
        shares = [scene.differing, *scene.correct]
        found.add_row([scene.name, *(f'{share:.1%}' for share in shares)])
    return f'Shares of the pixels that have a label\n\n{found}'


if __name__ == '__main__':
    main()

"""Trains a small PSPNet twice on drawn shapes, with and without EPL, and shows what came out.

    make demo

Needs no GPU, no download and a few minutes. It runs the real tools with the shipped configs, from
the same seed, evaluates both nets on the same held-out images and draws some of them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from mmseg_boundary.files import atomic_write
from mmseg_boundary.labels import encode
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from mmseg_boundary.metrics.contour_errors import count_contour_errors, share_near_contour


class Net(NamedTuple):
    """One of the trainings."""

    name: str  # in configs/pspnet_NAME_shapes.py

    @property
    def config(self) -> str:
        """The config file."""
        return f'configs/pspnet_{self.name}_shapes.py'

    @property
    def title(self) -> str:
        """Its losses, such as 'CE + EPL'."""
        losses = Config.fromfile(self.config).model.decode_head.loss_decode
        names = [loss.type.removesuffix('Loss') for loss in losses]
        return ' + '.join(names).replace('CrossEntropy', 'CE')


class Scene(NamedTuple):
    """A held-out image, (H, W, 3) uint8 RGB; its label and all predictions, (H, W) integer."""

    image: Tensor
    label: Tensor
    preds: list[Tensor]


# On two cores; the first step's own pace corrects them.
SECONDS_PER_ITERATION = {'epl': 0.15}
SECONDS_PER_ITERATION_OF_OTHERS = 0.07
SECONDS_TO_EVALUATE = 8
WIDTH = 3  # px
SCORES = ('mIoU', *(f'm{name}_{WIDTH}px' for name in ('BoundaryIoU', 'BoundaryF', 'TrimapIoU')))

# Chosen by eye: the held-out images are the same on every machine.
SHOWN = (0, 2, 5, 11, 21)
FIELDS_OF = 15, 'table', (slice(7, 75), slice(20, 88))


def main() -> None:
    """Trains, evaluates, prints the table and draws the figures."""
    parser = argparse.ArgumentParser(description='Train with several losses, and compare')
    parser.add_argument(
        '--losses',
        nargs='+',
        default=['ce', 'epl'],
        help='of ce, epl, boundary, dt, bf1, dice, dicefocal and bwce: NAME in '
        'configs/pspnet_NAME_shapes.py',
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/demo'), help='below the repository'
    )
    parser.add_argument(
        '--iters', type=int, help='iterations of each training (default: as in the configs)'
    )
    args = parser.parse_args()
    os.chdir(Path(__file__).parents[1])
    nets = [Net(name) for name in dict.fromkeys(args.losses)]
    for net in nets:
        if not Path(net.config).is_file():
            parser.error(f'there is no {net.config}; `ls configs/*_shapes.py` lists what there is.')
    config = Config.fromfile('configs/pspnet_epl_shapes.py')
    run_steps(nets, args.work_dir, args.iters or config.train_cfg.max_iters)

    held_out = build_dataset(config.test_dataloader.dataset)
    scenes = list(read_scenes(nets, args.work_dir, held_out))
    print(f'\n{table(nets, args.work_dir, scenes, held_out.ignore_index)}\n')
    print(f'{len(scenes)} held-out images. One seed and a short training: a difference of a point')
    print('or two is chance and says nothing about the losses.\n')
    draw_predictions(args.work_dir / 'predictions.png', nets, scenes, held_out.metainfo)
    draw_fields(args.work_dir / 'fields.png', scenes, held_out, config.losses[-1].kernel_size)


def run_steps(nets: list[Net], work_dir: Path, iterations: int) -> None:
    """Trains and evaluates the nets, each step in a process of its own."""
    steps = []
    for net in nets:
        pace = SECONDS_PER_ITERATION.get(net.name, SECONDS_PER_ITERATION_OF_OTHERS)
        command = training(net, work_dir, iterations)
        steps.append((f'train with {net.title}', command, pace * iterations))
    for net in nets:
        command = evaluation(net, work_dir, iterations)
        steps.append((f'evaluate {net.title}', command, SECONDS_TO_EVALUATE))
    # torch's threads spin while they wait, which is slow beside another busy program: see train.py.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ}
    start, planned = time.monotonic(), 0.0
    for number, (title, command, estimate) in enumerate(steps):
        pace = (time.monotonic() - start) / planned if planned else 1
        minutes = pace * sum(seconds for *_, seconds in steps[number:]) / 60
        print(f'\n=== step {number + 1} of {len(steps)}: {title}; about {minutes:.1f} min left')
        print(f'=== python {" ".join(command)}\n', flush=True)
        if subprocess.run([sys.executable, *command], env=environment).returncode != 0:
            raise SystemExit(f'\nThe demo stopped: step {number + 1} ({title}) failed, see above.')
        planned += estimate


def training(net: Net, work_dir: Path, iterations: int) -> list[str]:
    """The command that trains; only a length other than the config's changes a setting."""
    command = ['tools/train.py', net.config, '--work-dir', str(work_dir / net.name)]
    if iterations != Config.fromfile(net.config).train_cfg.max_iters:
        command += ['--cfg-options', f'param_scheduler.0.end={iterations}']
        command += [f'train_cfg.{name}={iterations}' for name in ('max_iters', 'val_interval')]
    return command


def evaluation(net: Net, work_dir: Path, iterations: int) -> list[str]:
    """The command that evaluates the end of the training and keeps the predictions."""
    folder = work_dir / net.name
    return [
        *('tools/test.py', net.config, str(folder / f'iter_{iterations}.pth')),
        *('--work-dir', str(folder / 'test'), '--out', str(folder / 'predictions')),
        *('--json', str(folder / 'numbers.json')),
    ]


def build_dataset(config: dict):
    """The data set of a config, as MMEngine's runner builds it."""
    from mmseg.registry import DATASETS

    init_default_scope('mmseg')
    return DATASETS.build(config)


def read_scenes(nets: list[Net], work_dir: Path, held_out) -> Iterator[Scene]:
    """Every held-out image with what the evaluations wrote."""
    for index in range(len(held_out)):
        sample = held_out[index]
        name = Path(sample['data_samples'].img_path).name
        files = [work_dir / net.name / 'predictions' / name for net in nets]
        yield Scene(
            sample['inputs'].flip(0).permute(1, 2, 0),  # loaded as BGR
            sample['data_samples'].gt_sem_seg.data[0],
            [torch.from_numpy(np.array(Image.open(file))) for file in files],
        )


def table(nets: list[Net], work_dir: Path, scenes: list[Scene], ignore_index: int) -> str:
    """One line per net."""
    first = max(len(net.title) for net in nets) + 1
    near = f'of these within {WIDTH} px of a boundary'
    headings = ' '.join(f'{key:>{len(key) + 1}}' for key in SCORES)
    lines = [f'{"net":<{first}}{headings} {"wrong pixels":>13}   {near}']
    for index, net in enumerate(nets):
        counts = sum(
            count_contour_errors(scene.preds[index], scene.label, ignore_index, WIDTH)
            for scene in scenes
        )
        share = f'{share_near_contour(counts):.1%}'
        metrics = json.loads((work_dir / net.name / 'numbers.json').read_text())['metrics']
        scores = ' '.join(f'{metrics[key]:>{len(key) + 1}.2f}' for key in SCORES)
        lines.append(f'{net.title:<{first}}{scores} {counts[1]:>13}   {share:>{len(near)}}')
    return '\n'.join(lines)


def draw_predictions(path: Path, nets: list[Net], scenes: list[Scene], metainfo: dict) -> None:
    """Draws image, label and predictions side by side."""
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(metainfo['palette'])] = metainfo['palette']
    columns = 2 + len(nets)
    size = (2.75 * columns, 14.5)
    figure, axes = plt.subplots(len(SHOWN), columns, figsize=size, layout='constrained')
    for row, (image, label, preds) in zip(axes, [scenes[i] for i in SHOWN], strict=True):
        panels = [image, *(colours[labels] for labels in (label, *preds))]
        for axis, panel in zip(row, panels, strict=True):
            axis.imshow(panel)
            axis.set_axis_off()
    titles = ['image', 'label (white: void)', *(f'trained with\n{net.title}' for net in nets)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    named = zip(metainfo['classes'], metainfo['palette'], strict=True)
    patches = [Patch(color=np.divide(colour, 255), label=name) for name, colour in named]
    figure.legend(handles=patches, loc='outside lower center', ncols=len(patches), frameon=False)
    save(figure, path)


def draw_fields(path: Path, scenes: list[Scene], held_out, kernel_size: int) -> None:
    """Draws EPL's four energies of one class of the label, with their equipotential lines."""
    index, name, window = FIELDS_OF
    image, label, _ = scenes[index]
    classes, h = held_out.metainfo['classes'], kernel_size // 2
    masks = encode(label[None], len(classes), held_out.ignore_index).masks
    mask = masks[:, [classes.index(name)]].float()
    energies = ray_sums(mask, Rays(kernel_size, 'A', 'replicate'))

    figure, axes = plt.subplots(1, 5, figsize=(16, 4), layout='constrained')
    axes[0].imshow(image[window])
    axes[0].contour(mask[0, 0][window], [0.5], colors='white')
    axes[0].set_title(f'boundary of the {name}')
    shades = ListedColormap(plt.get_cmap('viridis')(np.linspace(0, 1, h + 2)))
    directions = ('up', 'down', 'left', 'right')
    for axis, energy, direction in zip(axes[1:], energies, directions, strict=True):
        field = energy[0, 0][window]
        drawn = axis.imshow(field, shades, vmin=-0.5, vmax=h + 1.5)
        axis.contour(field, np.arange(1, h + 1) - 0.5, colors='white', linewidths=0.8)
        axis.set_title(f'field {direction}')
    for axis in axes:
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, ticks=range(h + 2), shrink=0.7, label='energy')
    figure.suptitle(
        f'EPL adds {h + 1} pixels of the mask along each direction. White: the '
        f'equipotential lines, where the energy reaches 1 to {h}'
    )
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Writes the figure and says where."""
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)
    print(f'Picture: {path}')


if __name__ == '__main__':
    main()

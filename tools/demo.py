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

from mmseg_boundary.geometry.rays import ray_sums
from mmseg_boundary.labels import encode
from mmseg_boundary.metrics.contour_errors import count_contour_errors, share_near_contour


class Net(NamedTuple):
    """One of the two trainings; `pace` is in seconds per iteration, on two cores."""

    title: str
    folder: str
    config: str
    pace: float


class Scene(NamedTuple):
    """A held-out image, (H, W, 3) uint8 RGB; its truth and both predictions, (H, W) integer."""

    image: Tensor
    label: Tensor
    preds: list[Tensor]


NETS = (
    Net('CE', 'ce', 'configs/pspnet_ce_shapes.py', 0.06),
    Net('CE + EPL', 'epl', 'configs/pspnet_epl_shapes.py', 0.15),
)
SECONDS_TO_EVALUATE = 8
WIDTH = 3  # px
SCORES = ('mIoU', *(f'm{name}_{WIDTH}px' for name in ('BoundaryIoU', 'BoundaryF', 'TrimapIoU')))

# Chosen by eye: the held-out images are the same on every machine.
SHOWN = (0, 2, 5, 11, 21)
FIELDS_OF = 15, 'table', (slice(7, 75), slice(20, 88))


def main() -> None:
    """Trains, evaluates, prints the table and draws the pictures."""
    parser = argparse.ArgumentParser(description='Train with and without EPL, and compare')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/demo'), help='below the repository'
    )
    parser.add_argument(
        '--iters', type=int, help='iterations of each training (default: as in the configs)'
    )
    args = parser.parse_args()
    os.chdir(Path(__file__).parents[1])
    config = Config.fromfile(NETS[1].config)
    run_steps(args.work_dir, args.iters or config.train_cfg.max_iters)

    held_out = build_dataset(config.test_dataloader.dataset)
    scenes = list(read_scenes(args.work_dir, held_out))
    print(f'\n{table(args.work_dir, scenes, held_out.ignore_index)}\n')
    print(f'{len(scenes)} held-out images. One seed and a short training: a difference of a point')
    print('or two is chance and says nothing about either loss.\n')
    draw_predictions(args.work_dir / 'predictions.png', scenes, held_out.metainfo)
    draw_fields(args.work_dir / 'fields.png', scenes, held_out, config.epl.kernel_size)


def run_steps(work_dir: Path, iterations: int) -> None:
    """Trains and evaluates both nets, each step in a process of its own."""
    steps = [
        (f'train with {net.title}', training(net, work_dir, iterations), net.pace * iterations)
        for net in NETS
    ] + [
        (f'evaluate {net.title}', evaluation(net, work_dir, iterations), SECONDS_TO_EVALUATE)
        for net in NETS
    ]
    # torch's threads spin while they wait; beside another busy program that costs a factor of 5.
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
    command = ['tools/train.py', net.config, '--work-dir', str(work_dir / net.folder)]
    if iterations != Config.fromfile(net.config).train_cfg.max_iters:
        command += ['--cfg-options', f'param_scheduler.0.end={iterations}']
        command += [f'train_cfg.{name}={iterations}' for name in ('max_iters', 'val_interval')]
    return command


def evaluation(net: Net, work_dir: Path, iterations: int) -> list[str]:
    """The command that evaluates the end of the training and keeps the predictions."""
    folder = work_dir / net.folder
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


def read_scenes(work_dir: Path, held_out) -> Iterator[Scene]:
    """Every held-out image with what the evaluations wrote."""
    for index in range(len(held_out)):
        sample = held_out[index]
        name = Path(sample['data_samples'].img_path).name
        files = [work_dir / net.folder / 'predictions' / name for net in NETS]
        yield Scene(
            sample['inputs'].flip(0).permute(1, 2, 0),  # loaded as BGR
            sample['data_samples'].gt_sem_seg.data[0],
            [torch.from_numpy(np.array(Image.open(file))) for file in files],
        )


def table(work_dir: Path, scenes: list[Scene], ignore_index: int) -> str:
    """One line per net."""
    near = f'of these within {WIDTH} px of a contour'
    headings = ' '.join(f'{key:>{len(key) + 1}}' for key in SCORES)
    lines = [f'{"net":<10}{headings} {"wrong pixels":>13}   {near}']
    for index, net in enumerate(NETS):
        counts = sum(
            count_contour_errors(scene.preds[index], scene.label, ignore_index, WIDTH)
            for scene in scenes
        )
        share = f'{share_near_contour(counts):.1%}'
        metrics = json.loads((work_dir / net.folder / 'numbers.json').read_text())['metrics']
        scores = ' '.join(f'{metrics[key]:>{len(key) + 1}.2f}' for key in SCORES)
        lines.append(f'{net.title:<10}{scores} {counts[1]:>13}   {share:>{len(near)}}')
    return '\n'.join(lines)


def draw_predictions(path: Path, scenes: list[Scene], metainfo: dict) -> None:
    """Image, truth and both predictions, side by side."""
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(metainfo['palette'])] = metainfo['palette']
    figure, axes = plt.subplots(len(SHOWN), 4, figsize=(11, 14.5), layout='constrained')
    for row, (image, label, preds) in zip(axes, [scenes[i] for i in SHOWN], strict=True):
        panels = [image, *(colours[labels] for labels in (label, *preds))]
        for axis, panel in zip(row, panels, strict=True):
            axis.imshow(panel)
            axis.set_axis_off()
    titles = ['image', 'truth (white: void)', *(f'trained with {net.title}' for net in NETS)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    named = zip(metainfo['classes'], metainfo['palette'], strict=True)
    patches = [Patch(color=np.divide(colour, 255), label=name) for name, colour in named]
    figure.legend(handles=patches, loc='outside lower center', ncols=len(patches), frameon=False)
    save(figure, path)


def draw_fields(path: Path, scenes: list[Scene], held_out, kernel_size: int) -> None:
    """EPL's four energies of one class of the truth, with their equipotential lines."""
    index, name, window = FIELDS_OF
    image, label, _ = scenes[index]
    classes, h = held_out.metainfo['classes'], kernel_size // 2
    planes = encode(label[None], len(classes), held_out.ignore_index).planes
    plane = planes[:, [classes.index(name)]].float()
    energies = ray_sums(plane, kernel_size, 'A', 'replicate')

    figure, axes = plt.subplots(1, 5, figsize=(16, 4), layout='constrained')
    axes[0].imshow(image[window])
    axes[0].contour(plane[0, 0][window], [0.5], colors='white')
    axes[0].set_title(f'true {name}, outlined')
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
        f'EPL adds {h + 1} pixels of the true region along each direction. White: the '
        f'equipotential lines, where the energy reaches 1 to {h}'
    )
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Writes the picture and says where."""
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f'Picture: {path}')


if __name__ == '__main__':
    main()

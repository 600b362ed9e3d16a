"""Trains a small PSPNet twice on drawn shapes, with and without EPL, and shows what came out.

    make demo

Needs no GPU, no download and a few minutes. It is a study of one seed, configs/studies/demo.py, of
the working tree as it is: this file runs it, prints its scores and draws the errors of its nets. A
net is an arm of that file; one more arm there is one more here.
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from mmseg_boundary.drawing.potential import draw_potentials, potentials
from mmseg_boundary.files import atomic_write
from mmseg_boundary.labels import encode
from mmseg_boundary.metrics.contour_errors import count_contour_errors, share_near_contour
from mmseg_boundary.study.report import write_report
from mmseg_boundary.study.results import Run, read


class Net(NamedTuple):
    """One of the trainings."""

    title: str
    run: Run


class Scene(NamedTuple):
    """A held-out image, (H, W, 3) uint8 RGB; its label and all predictions, (H, W) integer."""

    image: Tensor
    label: Tensor
    preds: list[Tensor]


STUDY = 'configs/studies/demo.py'
WIDTH = 3  # px
SCORES = ('mIoU', *(f'm{name}_{WIDTH}px' for name in ('BoundaryIoU', 'BoundaryF', 'TrimapIoU')))

# Chosen by eye, from the labels alone: the held-out images are the same on every machine.
SHOWN = 7, 11
FIELDS_OF = 15, 'table', (slice(7, 75), slice(20, 88))


def main() -> None:
    """Trains, evaluates, prints the table and draws the figures."""
    parser = argparse.ArgumentParser(description='Train with several losses, and compare')
    parser.add_argument(
        '--losses',
        nargs='+',
        help='of ce, epl, boundary, dt, bf1, scnp, dice, dicefocal and bwce: NAME in '
        f'configs/pspnet_NAME_shapes.py (default: the arms of {STUDY})',
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/demo'), help='below the repository'
    )
    parser.add_argument(
        '--iters', type=int, help='iterations of each training (default: as in the configs)'
    )
    args = parser.parse_args()
    os.chdir(Path(__file__).parents[1])
    folder = args.work_dir / 'study'
    arms = Config.fromfile(STUDY).study.arms
    losses = list(dict.fromkeys(args.losses or arms))
    for loss in losses:
        if loss not in arms and not Path(config_of(loss)).is_file():
            parser.error(
                f'there is no {config_of(loss)}; `ls configs/*_shapes.py` lists what there is.'
            )

    print(f'\n=== step 1 of 4: the study {STUDY}, in {folder}\n', flush=True)
    run_study(folder, losses, args.iters)
    print('\n=== step 2 of 4: its report\n', flush=True)
    print(f'Report: {write_report(folder)}')
    print('\n=== step 3 of 4: its scores\n', flush=True)
    study = read(folder)
    nets = [Net(study.titles[loss], study.reported(loss, 'val')[0]) for loss in losses]
    for net in nets:
        if not net.run.ended:
            raise SystemExit(f'The demo stopped: the training with {net.title} ended in NaN.')
    config = Config.fromfile('configs/pspnet_epl_shapes.py')
    held_out = build_dataset(config.test_dataloader.dataset)
    scenes = list(read_scenes(nets, held_out))
    print(f'{table(nets, scenes, held_out.ignore_index)}\n')
    print(f'{len(scenes)} held-out images. One seed and a short training: another seed can turn')
    print('every difference around, and none of them says that a loss is better. Only a study over')
    print('seeds can: docs/studies.md.')
    print('\n=== step 4 of 4: pictures\n', flush=True)
    draw_fields(args.work_dir / 'fields.png', scenes, held_out, config.losses[-1].kernel_size)
    draw_errors(args.work_dir / 'errors.png', nets, scenes, held_out)


def config_of(loss: str) -> str:
    """The config that trains with a loss."""
    return f'configs/pspnet_{loss}_shapes.py'


def title_of(loss: str) -> str:
    """The losses of a config, such as 'CE + EPL'."""
    losses = Config.fromfile(config_of(loss)).model.decode_head.loss_decode
    names = [each.type.removesuffix('Loss') for each in losses]
    return ' + '.join(names).replace('CrossEntropy', 'CE')


def run_study(folder: Path, losses: list[str], iterations: int | None) -> None:
    """Runs the study anew, with arms for these losses."""
    study = Config.fromfile(STUDY).study
    study.arms = {
        loss: study.arms.get(loss) or dict(title=title_of(loss), config=config_of(loss))
        for loss in losses
    }
    if iterations:
        study.update(iterations=iterations, checkpoint_interval=iterations)
    # What an earlier demo left is of other code, losses or iterations.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / Path(STUDY).name
    file.write_text(f'study = {study.to_dict()!r}\n')
    command = ['tools/study.py', 'run', str(file), '--work-dir', str(folder)]
    done = subprocess.run([sys.executable, *command, '--in-place', '--progress'], check=False)
    if done.returncode:
        raise SystemExit('\nThe demo stopped: its study failed, see above.')


def build_dataset(config: dict):
    """The data set of a config, as MMEngine's runner builds it."""
    from mmseg.registry import DATASETS

    init_default_scope('mmseg')
    return DATASETS.build(config)


def read_scenes(nets: list[Net], held_out) -> Iterator[Scene]:
    """Every held-out image with what the nets predicted."""
    for index in range(len(held_out)):
        sample = held_out[index]
        name = Path(sample['data_samples'].img_path).name
        files = [net.run.predictions / name for net in nets]
        yield Scene(
            sample['inputs'].flip(0).permute(1, 2, 0),  # loaded as BGR
            sample['data_samples'].gt_sem_seg.data[0],
            [torch.from_numpy(np.array(Image.open(file))) for file in files],
        )


def table(nets: list[Net], scenes: list[Scene], ignore_index: int) -> str:
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
        scores = ' '.join(f'{net.run.metrics[key]:>{len(key) + 1}.2f}' for key in SCORES)
        lines.append(f'{net.title:<{first}}{scores} {counts[1]:>13}   {share:>{len(near)}}')
    return '\n'.join(lines)


def draw_errors(path: Path, nets: list[Net], scenes: list[Scene], held_out) -> None:
    """Draws what each net predicts and where it is wrong, a row per net."""
    from mmseg_boundary.registered.visualization import paint

    names = held_out.metainfo['classes'], held_out.metainfo['palette']
    size = (11 * len(SHOWN), 6.2 * len(nets))
    figure, axes = plt.subplots(
        len(nets), len(SHOWN), figsize=size, layout='constrained', squeeze=False
    )
    for place, (row, net) in enumerate(zip(axes, nets, strict=True)):
        for axis, index in zip(row, SHOWN, strict=True):
            image, label, preds = scenes[index]
            painted = paint(
                image.numpy(), preds[place], label, held_out.ignore_index, WIDTH, *names
            )
            axis.imshow(painted)
            axis.set_title(f'{net.title}, held-out image {index}')
            axis.set_axis_off()
    save(figure, path)


def draw_fields(path: Path, scenes: list[Scene], held_out, kernel_size: int) -> None:
    """Draws EPL's four energies of one class of the label, and their equipotential lines."""
    index, name, window = FIELDS_OF
    image, label, _ = scenes[index]
    classes = held_out.metainfo['classes']
    target = encode(label[None], len(classes), held_out.ignore_index)
    found = potentials(target, classes.index(name), {}, kernel_size, padding='replicate')
    heading = (
        f'EPL adds {found.num_lines + 1} pixels of the mask along each direction. The '
        f'equipotential lines are where the energy is 1 to {found.num_lines}'
    )
    save(draw_potentials(found, heading, image.numpy(), window), path)


def save(figure: plt.Figure, path: Path) -> None:
    """Writes the figure and says where."""
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)
    print(f'Picture: {path}')


if __name__ == '__main__':
    main()

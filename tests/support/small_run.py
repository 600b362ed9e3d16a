"""Our tools in this process, on two small images, with a network that trains in seconds."""

import importlib.util
import sys
from functools import lru_cache

import cv2
import mmengine.config.config
import numpy as np
import pytest
from mmengine.config import Config
from yapf.yapflib import yapf_api

from mmseg_boundary.registered.datasets.shapes import ShapesDataset, draw
from tests.support.commands import ROOT, SHAPES

SIZE = 64


def write_data(folder, names=('a', 'b')):
    for index, name in enumerate(names):
        image, label = draw(1, index, SIZE, SIZE)
        for place, pixels in (('images', image), ('labels', label)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / place / f'{name}.png'), pixels)


NEEDED = (
    'custom_imports', 'default_scope', 'default_hooks', 'model', 'optim_wrapper', 'randomness',
    'val_cfg', 'test_cfg', 'val_evaluator', 'test_evaluator', 'tta_pipeline',
)  # fmt: skip


@lru_cache
def small_net():
    """The parts of our config that are needed, as text: MMEngine takes a second to print all."""
    config = Config.fromfile(SHAPES)
    config.model.data_preprocessor.size = (SIZE, SIZE)
    config.default_hooks.logger.interval = config.default_hooks.checkpoint.interval = 1
    return '\n'.join(f'{key} = {config[key]!r}' for key in NEEDED)


def write_config(folder):
    """A config with two images on disk, three iterations, and a checkpoint after each."""
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(folder / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        ann_file='',
        metainfo=dict(classes=ShapesDataset.METAINFO['classes']),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=False),
        dataset=dataset,
    )
    tests = dict(loader, batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
    (folder / 'config.py').write_text(
        f'{small_net()}\n'
        f'train_dataloader = {loader}\n'
        f'val_dataloader = test_dataloader = {tests}\n'
        "train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)\n"
    )


def run_tool(name, *arguments):
    """Runs `tools/{name}.py` in this process and returns its error, None if it succeeds."""
    spec = importlib.util.spec_from_file_location(f'{name}_under_test', ROOT / f'tools/{name}.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        leave_configs_unformatted(patch)
        try:
            tool.main()
        except SystemExit as end:
            return end.code
    return None


def leave_configs_unformatted(patch):
    """MMEngine formats the config with yapf three times a run, for the log, the work folder and the
    visualizer, which takes most of the time of so small a run. Unformatted it says the same."""
    for module in (yapf_api, mmengine.config.config):  # where each of the stacks looks it up
        patch.setattr(module, 'FormatCode', lambda text, **style: (text, True), raising=False)


def train(folder, *options, config=None, resume=False, flags=(), work='work'):
    command = [config or folder / 'config.py', '--work-dir', folder / work, *flags]
    command += ['--resume'] if resume else []
    return run_tool('train', *command, *(['--cfg-options', *options] if options else []))


def evaluate(folder, *options, checkpoint='good.pth', flags=()):
    outputs = [*flags, '--json', folder / 'out.json', '--out', folder / 'out']
    return evaluate_into(folder, *outputs, options=options, checkpoint=checkpoint)


def evaluate_into(folder, *outputs, options=(), checkpoint='good.pth', work='work'):
    command = [folder / 'config.py', folder / checkpoint, '--work-dir', folder / work, *outputs]
    return run_tool('test', *command, *(['--cfg-options', *options] if options else []))


def truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def write_unknown(folder, label=7):
    labels = np.full((SIZE, SIZE), label, np.uint8)
    assert cv2.imwrite(str(folder / 'data/labels/b.png'), labels)

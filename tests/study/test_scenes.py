"""Images and labels for a report, from the data set of the runs."""

import io
import json

import numpy as np
from mmengine.fileio import get
from mmseg.registry import DATASETS
from PIL import Image

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.study.extremes import wanted_images
from mmseg_boundary.study.report import write_report
from mmseg_boundary.study.results import read
from tests.support import made_up_study
from tests.support.made_up_study import add_row, write_plan

CONFIG = """
custom_imports = dict(imports=['mmseg_boundary.registered'], allow_failed_imports=False)
test_dataloader = dict(dataset=dict(
    type='ShapesDataset', length=4, seed=9, size=(32, 48),
    pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(24, 16)),
        dict(type='LoadAnnotations'), dict(type='PackSegInputs'),
    ],
))
"""


def test_scenes_are_written_once_and_shown(tmp_path, monkeypatch):
    """Drawn shapes, whose names have no drive: the one that gains and the one that loses."""
    monkeypatch.setattr(made_up_study, 'names_of', lambda _: [f'{i:06}' for i in range(4)])
    write_plan(tmp_path, splits=[dict(name='val', dataset={}, opened_last=False)], finals=[])
    for arm, better in dict(ce='000001', bf1='000003').items():
        add_row(tmp_path, arm, 0, 'val', f=50, better=[better], predictions=f'predictions/{arm}')
        (tmp_path / 'predictions' / arm).mkdir(parents=True)
        for index in range(4):
            pred = Image.fromarray(np.zeros((32, 48), np.uint8))
            pred.save(tmp_path / f'predictions/{arm}/{index:06}.png')
    assert {name for _, name, _ in wanted_images(read(tmp_path))} == {'000001', '000003'}
    assert '<img' not in write_report(tmp_path).read_text()

    run = tmp_path / 'runs/ce__seed0'
    run.mkdir(parents=True)
    (run / 'val.py').write_text(CONFIG)
    assert write_report(tmp_path).read_text().count('<img') == 2 * 5
    scenes = tmp_path / 'scenes/val'
    found = sorted(path.name for path in scenes.iterdir())
    assert found == ['000001.jpg', '000001.png', '000003.jpg', '000003.png', 'palette.json']
    image, label = (
        np.asarray(Image.open(io.BytesIO(get(f'shapes://9/32x48/{kind}/000003.png'))))
        for kind in ('image', 'label')
    )
    assert np.array_equal(np.asarray(Image.open(scenes / '000003.png')), label)
    shown = np.asarray(Image.open(scenes / '000003.jpg')).astype(float)
    assert shown.shape == (32, 48, 3)  # of the labels, where the net saw half of it
    colors = shown.mean((0, 1)) - image.mean((0, 1))
    assert np.abs(colors).max() < 5 < np.ptp(image.mean((0, 1)))  # and the channels are in order
    palette = DATASETS.get('ShapesDataset').METAINFO['palette']
    assert json.loads((scenes / 'palette.json').read_text()) == palette

    (run / 'val.py').write_text('raise SystemExit')  # it is not read again
    write_report(tmp_path)

"""Writes the folder of a study that nobody ran, with known differences between scores."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_boundary.study.report import write_report

CLASSES = ['road', 'car', 'pole']
PALETTE = [[128, 64, 128], [64, 0, 128], [192, 192, 128]]
WIDTHS = [1, 2, 3]
JITTER = [0.3, -0.3, 0.6, -0.6, 0.9, -0.9, 0.0]  # of each seed, added to the mean difference
FRAMES = 20
SIZE = 24, 32


def plan(**changed):
    """A study's file as `mmseg_boundary.study` resolves it."""
    arms = dict(ce='CE', bwce='boundary-weighted CE', bf1='BF1 <2>', dt='DT', epl='EPL')
    losses = dict(bf1=[dict(type='CrossEntropyLoss'), dict(type='BF1Loss', loss_weight=2)])
    told = dict(
        study='made_up',
        question='Does anything sharpen boundaries?',
        base='configs/pspnet_ce_shapes.py',
        base_arm='ce',
        baselines=['ce', 'bwce'],
        finals=['bwce', 'bf1', 'dt'],
        seeds=[0, 1, 2, 3, 4, 5, 6],
        margins={'mIoU': 0.5, 'mBoundaryF_2px': 1.0},
        budget=30,
        iterations=400,
        published=None,
        options={},
        arms=[
            dict(
                name=name, title=title, losses=losses.get(name), config=None, start=0.0,
                schedule=[], options={}, iterations=None, seeds=None, cost=1.0,
            )
            for name, title in arms.items()
        ],
        splits=[
            dict(name='val', dataset={}, opened_last=False),
            dict(name='test', dataset={}, opened_last=True),
        ],
        endpoints=[
            dict(key='mBoundaryF_2px', title='F 2 px', classes=None),
            dict(key='mBoundaryF_2px', title='F 2 px, frequent', classes=['road', 'car']),
        ],
        tuning=None,
    )  # fmt: skip
    return dict(told, **changed)


def names_of(split):
    """Names of images: val is one drive of 5 blocks, test has two drives of 3 and 8 blocks."""
    drives = dict(val=[('0016E5', 5)], test=[('0001TP', 3), ('Seq05VD', 8)])
    return [
        f'{drive}_{frame:05}' for drive, blocks in drives[split] for frame in range(blocks * FRAMES)
    ]


def arrays_of(split, iou, f, seed):
    """What `tools/test.py --per-image` writes of a run with about these scores, in points."""
    names, random = names_of(split), np.random.default_rng(seed)
    shape = (len(names), len(CLASSES))
    union = random.integers(50, 100, shape)
    share = np.clip(iou / 100 + random.normal(0, 0.05, shape), 0, 1)
    values = np.clip(f / 100 + random.normal(0, 0.05, (*shape, 1)), 0, 1)
    values = np.clip(values + np.array([-0.1, 0, 0.05]), 0, 1)
    values[random.random(shape) < 0.2] = math.nan
    return dict(
        names=np.array(names),
        classes=np.array(CLASSES),
        widths=np.array(WIDTHS),
        intersection=(share * union).round().astype(np.int64),
        union=union,
        label=union,
        boundary_f=values,
    )


def add_row(
    folder, arm, seed, split, stage='final', f=50.0, iou=60.0, lost=False, better=(), **changed
):
    """Writes a finished run with scores of about `f` and `iou`; in the images `better` F is 20
    points higher."""
    name = f'{arm}__seed{seed}__{split}'
    row = dict(
        study='made_up', arm=arm, seed=seed, split=split, stage=stage, status='finished',
        cpu_seconds=dict(forward=0.1, backward=0.2 if arm == 'ce' else 0.5),
        peak_memory_mib=200 if arm == 'ce' else 250, parameters=1000, settings={},
        versions={'torch': '2.13.0'}, commit='c0ffee', code_hash='abc', per_image=None,
        predictions=None, metrics={}, per_class={},
    )  # fmt: skip
    if lost:
        row.update(status='nan', cpu_seconds=None, peak_memory_mib=None)
    elif stage == 'tuning':
        row.update(metrics={'mBoundaryF_2px': f, 'mIoU': iou})
    else:
        arrays = arrays_of(split, iou, f, seed)
        arrays['boundary_f'][np.isin(arrays['names'], better)] += 0.2
        per_class = {'IoU': 100 * arrays['intersection'].sum(0) / arrays['union'].sum(0)}
        for place, width in enumerate(WIDTHS):
            scores = 100 * np.nanmean(arrays['boundary_f'][..., place], 0)
            per_class[f'BoundaryF_{width}px'] = scores
        metrics = {f'm{key}': float(np.mean(scores)) for key, scores in per_class.items()}
        metrics |= {'mBoundaryIoU': 40.0, 'mTrimapIoU_2px': 30.0}
        row.update(
            metrics=metrics,
            per_class={k: dict(zip(CLASSES, v.tolist())) for k, v in per_class.items()},
            per_image=f'per_image/{name}.npz',
        )
        (folder / 'per_image').mkdir(exist_ok=True)
        np.savez_compressed(folder / 'per_image' / f'{name}.npz', **arrays)
    row.update(changed)
    (folder / 'rows').mkdir(exist_ok=True)
    setting = f'__setting{row["setting"]}' if 'setting' in row else ''
    (folder / 'rows' / f'{arm}{setting}__seed{seed}__{split}.json').write_text(json.dumps(row))
    return row


def write_plan(folder, **changed):
    """Writes `study.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'study.json').write_text(json.dumps(plan(**changed)))


def write_study(folder, splits=('val', 'test'), **changed):
    """Writes all finals, and two runs of an exploratory arm. BF1 is 3 points above the strongest
    baseline in F and equal in mIoU, DT 1 below in F and 3 in mIoU."""
    write_plan(folder, **changed)
    scores = dict(ce=(50, 60), bwce=(52, 60), bf1=(55, 60), dt=(51, 57))
    for split in splits:
        for seed, more in zip(plan()['seeds'], JITTER):
            for arm, (f, iou) in scores.items():
                stage = 'base' if arm == 'ce' else 'final'
                f, iou = (f, iou) if arm == 'bwce' else (f + more, iou - more / 2)
                add_row(folder, arm, seed, split, stage, f, iou)
        for seed in (0, 1):
            add_row(folder, 'epl', seed, split, 'exploratory', 52 + seed, 60)


def write_scenes(folder, split, arms, size=SIZE):
    """Writes images, labels and predictions of the first seed for a split."""
    random = np.random.default_rng(0)
    scenes = folder / 'scenes' / split
    scenes.mkdir(parents=True)
    (scenes / 'palette.json').write_text(json.dumps(PALETTE))
    for name in names_of(split):
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(image).save(scenes / f'{name}.jpg')
        Image.fromarray(random.integers(0, 3, size, dtype=np.uint8)).save(scenes / f'{name}.png')
    for arm in arms:
        row = folder / 'rows' / f'{arm}__seed0__{split}.json'
        predictions = f'predictions/{row.stem}'
        Path(folder, predictions).mkdir(parents=True)
        row.write_text(json.dumps(dict(json.loads(row.read_text()), predictions=predictions)))
        for name in names_of(split):
            label = Image.fromarray(random.integers(0, 3, size, dtype=np.uint8))
            label.save(folder / predictions / f'{name}.png')


def page_of(folder):
    return write_report(folder).read_text(encoding='utf-8')


def markdown_of(folder):
    write_report(folder)
    return Path(folder, 'report.md').read_text(encoding='utf-8')

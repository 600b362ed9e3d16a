"""The images and labels that a report shows, from the data set that the runs were evaluated on."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from ..files import atomic_write
from .extremes import PALETTE, scene_files, wanted_images
from .results import Study


def write_scenes(study: Study) -> None:
    """Writes what `wanted_images` names and is not there yet, below `scenes/` in the folder.

    The data set of a split is that of `runs/ARM__seedN/SPLIT.py`, the config of an evaluation;
    without one nothing is written, and the report shows no images of the split.
    """
    wanted: dict[str, set[str]] = {}
    for comparison, name, _ in wanted_images(study):
        image, label = scene_files(study, comparison.split, name)
        if not (image.is_file() and label.is_file()):
            wanted.setdefault(comparison.split, set()).add(name)
    for split, names in wanted.items():
        config = next(_configs(study, split), None)
        if config is not None:
            _write(study, split, names, config)


def _configs(study: Study, split: str) -> Iterator[Path]:
    for arm in study.titles:
        for run in study.reported(arm, split):
            file = study.folder / 'runs' / f'{arm}__seed{run.seed}' / f'{split}.py'
            if file.is_file():
                yield file


def _write(study: Study, split: str, names: set[str], file: Path) -> None:
    config = Config.fromfile(file)
    init_default_scope('mmseg')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    folder = study.folder / 'scenes' / split
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / PALETTE) as unfinished:
        unfinished.write_text(json.dumps(dataset.metainfo['palette']))
    for index in range(len(dataset)):
        name = Path(dataset.get_data_info(index)['img_path']).stem
        if name not in names:
            continue
        sample = dataset[index]
        label = sample['data_samples'].gt_sem_seg.data[0].numpy()
        pixels = sample['inputs'].flip(0).permute(1, 2, 0).numpy()  # loaded as BGR
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize(label.shape[::-1])
        image_file, label_file = scene_files(study, split, name)
        with atomic_write(image_file) as unfinished:
            image.save(unfinished, 'JPEG', quality=90)
        with atomic_write(label_file) as unfinished:
            Image.fromarray(label.astype(np.uint8)).save(unfinished, 'PNG')

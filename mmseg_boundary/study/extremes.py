"""The images on which an arm gains and loses most, their files, and their section of the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .conclusions import Comparison, compare, points
from .figures import image_panels
from .page import Section, Strip
from .results import Study
from .statistics import mean_over_classes

PALETTE = 'palette.json'
BYTES_OF_IMAGES = 4_000_000
IMAGES_EACH = 2  # largest gains, and as many losses, of an arm


def wanted_images(study: Study) -> Iterator[tuple[Comparison, str, float]]:
    """A comparison, an image's name and its mean difference in points: the images with the largest
    gains and losses at the primary endpoint, over all seeds."""
    for split in study.splits:
        for comparison in compare(study, split):
            found = comparison.image_sums(study.primary)
            if found is None:
                continue
            names, arm, baseline = found
            differences = np.mean(mean_over_classes(*arm) - mean_over_classes(*baseline), 0)
            order = [place for place in np.argsort(differences) if np.isfinite(differences[place])]
            gains = [place for place in order[::-1] if differences[place] > 0]
            losses = [place for place in order if differences[place] < 0]
            for place in [*gains[:IMAGES_EACH], *losses[:IMAGES_EACH]]:
                yield comparison, names[place], float(differences[place])


def scene_files(study: Study, split: str, name: str) -> tuple[Path, Path]:
    """The files of an image and of its label, which has class indices; the palette of the split
    stands beside them."""
    folder = study.folder / 'scenes' / split
    return folder / f'{name}.jpg', folder / f'{name}.png'


def largest_differences(study: Study) -> Section | None:
    """The images of the first seed, from the predictions and scenes that the runs have left."""
    strips, size, left_out = [], 0, 0
    for comparison, name, difference in wanted_images(study):
        files = _files_of(study, comparison, name)
        if files is None:
            left_out += 1
            continue
        image, label, preds, palette = files
        panels = image_panels(image, label, preds, palette)
        size += sum(len(panel.source) for panel in panels)
        if size > BYTES_OF_IMAGES:
            left_out += 1
            continue
        caption = (
            f'{comparison.split}, {name}: {comparison.title} {points(difference, signed=True)}'
        )
        strips.append(Strip(caption, panels))
    if not strips and not left_out:
        return None
    text = [
        'The images on which an arm gains and loses most against the baseline, by the mean over '
        'seeds; the pictures are of one seed. They are extremes, and no evidence.'
    ]
    if left_out:
        text.append(
            f'{left_out} of them are not shown, because their predictions were not kept or would '
            'make this page too large.'
        )
    return Section('Largest gains and losses', text, strips=strips, only_html=True)


def _files_of(
    study: Study, comparison: Comparison, name: str
) -> tuple[Path, Path, list[tuple[str, Path]], list] | None:
    image, label = scene_files(study, comparison.split, name)
    palette = image.with_name(PALETTE)
    for pair in zip(
        *study.pairs(comparison.arm, comparison.baseline, comparison.split), strict=True
    ):
        ours, theirs = (run.predictions and run.predictions / f'{name}.png' for run in pair)
        needed = (ours, theirs, palette, image, label)
        if ours and theirs and all(file is not None and file.is_file() for file in needed):
            preds = [(study.titles[comparison.baseline], theirs), (comparison.title, ours)]
            return image, label, preds, json.loads(palette.read_text())
    return None

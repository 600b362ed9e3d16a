"""The images on which an arm gains and loses most, and where their files are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .conclusions import Comparison, compare
from .results import Study, image_sums
from .statistics import mean_over_classes

PALETTE = 'palette.json'
IMAGES_EACH = 2  # largest gains, and as many losses, of an arm


def wanted_images(study: Study) -> Iterator[tuple[Comparison, str, float]]:
    """A comparison, an image's name and its mean difference in points: the images with the largest
    gains and losses at the primary endpoint, over all seeds."""
    for split in study.splits:
        for comparison in compare(study, split):
            ours, theirs = study.pairs(comparison.arm, comparison.baseline, split)
            arm, baseline = (image_sums(runs, study.primary) for runs in (ours, theirs))
            if arm is None or baseline is None:
                continue
            differences = np.mean(mean_over_classes(*arm[1]) - mean_over_classes(*baseline[1]), 0)
            order = [place for place in np.argsort(differences) if np.isfinite(differences[place])]
            gains = [place for place in order[::-1] if differences[place] > 0]
            losses = [place for place in order if differences[place] < 0]
            for place in [*gains[:IMAGES_EACH], *losses[:IMAGES_EACH]]:
                yield comparison, arm[0][place], float(differences[place])


def scene_files(study: Study, split: str, name: str) -> tuple[Path, Path]:
    """The files of an image and of its label, which has class indices; the palette of the split
    stands beside them."""
    folder = study.folder / 'scenes' / split
    return folder / f'{name}.jpg', folder / f'{name}.png'

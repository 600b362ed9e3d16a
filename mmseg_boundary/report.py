"""All numbers of an evaluation in one JSON file, which is what `tools/test.py --json` writes."""

import json
import math
import re
from pathlib import Path

from .files import atomic_write


def write_report(path: str | Path, report: dict) -> None:
    """Writes the report atomically. NaN becomes null, since JSON has no NaN."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(_without_nan(report), indent=1, allow_nan=False) + '\n')


def by_width(report: dict, name: str) -> dict[int, float]:
    """{width in pixels: mean} of a boundary metric, such as 'BoundaryF', ascending; without widths
    that are shares of the diagonal.

    The first evaluator that has it counts; its keys may have a prefix.
    """
    for evaluator in report.get('evaluators', ()):
        prefix = f'{evaluator["prefix"]}/' if evaluator['prefix'] else ''
        widths = sorted(width for width in evaluator['widths'] if width >= 1)
        keys = {width: f'{prefix}m{name}_{width}px' for width in widths}
        if keys and all(key in report['metrics'] for key in keys.values()):
            values = {width: report['metrics'][key] for width, key in keys.items()}
            return {width: math.nan if mean is None else mean for width, mean in values.items()}
    raise ValueError(
        f'The report has no {name} per width: evaluate with BoundaryMetric (test.py --boundary), '
        f'{name} in its boundary_metrics, and widths in pixels.'
    )


def width_of(key: str) -> float | None:
    """The width in the key of a score: whole pixels, or a share of the diagonal.

    >>> width_of('mBoundaryF_2px'), width_of('near/mTrimapIoU_0.008d'), width_of('mIoU')
    (2, 0.008, None)
    """
    found = re.search(r'_(?:(\d+)px|(\d(?:\.\d+)?(?:e-\d+)?)d)$', key)
    if found is None:
        return None
    return int(found[1]) if found[1] else float(found[2])


def array_of(metric: str) -> str:
    """The array of a metric's counts in the file of `tools/test.py --per-image`.

    >>> array_of('BoundaryIoU')
    'boundary_iou'
    """
    return re.sub(r'(?<=[a-z])(?=[A-Z])', '_', metric.replace('IoU', 'Iou')).lower()


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, (int, str)) or value is None:
        return value
    return float(value) if math.isfinite(value) else None

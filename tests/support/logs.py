"""Reads what MMEngine wrote."""

import json


def scalars(work_dir):
    """The lines of the newest scalars.json."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for line in newest.read_text().splitlines()]


def losses(work_dir):
    """{iteration: {log key: value}} of the newest run, for losses alone."""
    return {
        line['step']: {key: value for key, value in line.items() if 'loss' in key}
        for line in scalars(work_dir)
        if 'loss' in line
    }


def metrics(work_dir):
    """The values of the newest evaluation."""
    newest = max(work_dir.glob('*/2*.json'), key=lambda path: path.stat().st_mtime_ns)
    values = json.loads(newest.read_text())
    return {key: value for key, value in values.items() if 'time' not in key}


def text_of(work_dir):
    """The log of the newest run."""
    newest = max(work_dir.glob('*/*.log'), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text()

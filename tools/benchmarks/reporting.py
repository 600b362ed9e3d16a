"""The tables, in Markdown."""

import math
import statistics

BESIDE_OTHER_CODE = ('losses', 'distances', 'metrics')


def table(rows: list[dict]) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row['forms']))
    lines = [['', *names, 'floor'], ['---'] * (len(names) + 2)]
    for row in rows:
        floor = shown_time(row['floor']['seconds']), shown_size(row['floor']['result_bytes'])
        cells = [cell(row['forms'], name) for name in names]
        lines.append([row['name'], *cells, '; '.join(floor)])
    return markdown(lines)


def cell(forms: dict, name: str) -> str:
    """'time (fastest to slowest), factor; peak, factor'."""
    if name not in forms:
        return ''
    medians = {form: medians_of(forms[form]) for form in ('ours', name)}
    worst = max(medians[name], key=medians[name].get)
    text, runs = shown_time(medians[name][worst]), forms[name]['seconds'][worst]
    if len(runs) > 1:
        text += f' ({shown_time(min(runs))} to {shown_time(max(runs))})'
    if name != 'ours':
        text += f', {smallest_factor(medians[name], medians["ours"]):.3g}x'
    peaks = forms[name].get('peak_bytes')
    if peaks:
        text += f'; {shown_size(max(peaks.values()))}'
        if name != 'ours' and min(peaks.values()) > 0:  # on CUDA, what runs on the CPU has none
            text += f', {smallest_factor(peaks, forms["ours"]["peak_bytes"]):.3g}x'
    return text


def cost_tables(rows: list[dict]) -> str:
    """Time, the median of the runs, and memory."""
    tables = []
    for title, cell in (
        ('time', lambda form: shown_time(medians_of(form)[''])),
        ('memory', lambda form: shown_size(form['peak_bytes'][''])),
    ):
        lines = [[title, *(row['name'] for row in rows)], ['---'] * (len(rows) + 1)]
        for name in rows[0]['forms']:
            lines.append([name, *(cell(row['forms'][name]) for row in rows)])
        tables.append(markdown(lines))
    return '\n\n'.join(tables)


def beside_table(found: dict) -> str:
    lines = [['logits', 'loss', 'alone', 'beside', 'slowdown', "of CE's"], ['---'] * 6]
    for size, losses in found.items():
        of_ce = losses['cross-entropy'][1] / losses['cross-entropy'][0]
        for name, (alone, with_others) in losses.items():
            slowdown = with_others / alone
            shown = shown_time(alone), shown_time(with_others), f'{slowdown:.3g}x'
            lines.append([size, name, *shown, f'{slowdown / of_ce:.2g}x'])
    return markdown(lines)


def page(report: dict, neighbours: int | None) -> str:
    command = list(report['command'])
    if '--json' in command:  # a place on one machine
        place = command.index('--json')
        del command[place : place + 2]
    machine = ', '.join(f'{key} {value}' for key, value in report['machine'].items())
    mine, whole = seconds_of_step(report['rows']['step'])
    compared = [report['rows'][name] for name in BESIDE_OTHER_CODE if name in report['rows']]
    parts = [
        '# What the losses cost',
        f'Written by `tools/benchmark.py {" ".join(command)}`, on one machine and in one '
        f'run: {machine}. Other programs may have been at work on it: read the '
        'orders of magnitude, and ratios within a table.',
        '## A loss, forwards and backwards',
        'As a decode head calls it, with the default arguments: the median of the runs, and what '
        'the process grows by at most.',
        cost_tables(report['rows']['costs']),
    ]
    if compared:
        parts += [
            '## Beside other code',
            'Ours, what others published, a plain form, and a floor below which nothing can be: '
            'time (fastest to slowest), memory at its peak, and how many times ours that is in the '
            'worst case. Losses on 2×19×256×512 probabilities, metrics on one 1024×2048 image of '
            '19 classes. `python tools/benchmark.py --help` says how each is measured; nothing has '
            'been measured on a GPU yet (`--device cuda`).',
            table([row for rows in compared for row in rows]),
        ]
    parts += [
        '## A step',
        f'{report["rows"]["step"][0]["name"]}: {shown_time(mine)} of {shown_time(whole)}, '
        f'{100 * mine / whole:.1f} %.',
    ]
    if neighbours:
        parts += [
            f'## Beside {neighbours} busy processes',
            'Medians of five. `tools/train.py` sets the wait policy `PASSIVE`; set '
            '`OMP_WAIT_POLICY=PASSIVE` before your own script, since torch reads it when it loads.',
            beside_table(report['beside']),
        ]
    return '\n\n'.join(parts) + '\n'


def seconds_of_step(rows: list[dict]) -> list[float]:
    """The losses of ours, and the whole step."""
    return [medians_of(rows[0]['forms'][name])[''] for name in ('ours', 'whole step')]


def medians_of(form: dict) -> dict[str, float]:
    return {case: statistics.median(runs) for case, runs in form['seconds'].items()}


def smallest_factor(theirs: dict[str, float], ours: dict[str, float]) -> float:
    """Case by case; a peer that ran on one case alone stands against all of ours."""
    most = max(theirs.values())
    return min(theirs.get(case, most) / each if each else math.inf for case, each in ours.items())


def markdown(lines: list[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def shown_time(seconds: float) -> str:
    return f'{seconds:.3g} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'


def shown_size(count: float) -> str:
    return f'{count / 2**30:.3g} GiB' if count >= 2**30 else f'{count / 2**20:.3g} MiB'

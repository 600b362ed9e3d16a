"""Time and peak memory of losses, distances and metrics, beside plain and published forms of them.

python tools/benchmark.py losses distances metrics
python tools/benchmark.py losses --device cuda --json numbers.json
python tools/benchmark.py growth step
python tools/benchmark.py --beside 4
python tools/benchmark.py --beside 4 --page docs/performance.md

`growth` is EPL alone, over image size, classes, kernel and splitter. `step` has the losses of ours
in a config beside the whole training step. 'plain' is EPL's reference
(`losses/epl/reference.py`), BF1 by `max_pool2d`, distances by OpenCV in two passes;
'published' is `published.py`. Forms of one definition must give equal results. `costs` is every
loss of ours, as a head calls it, over classes and crop. `--beside N` has the slowdown of CE, EPL
and BF1 beside N busy processes, medians of five, with the wait policy of `train.py` if
OMP_WAIT_POLICY is not set. `--page` writes `costs`, `--beside` and the shares of a step as a page.

Time: the forms take turns in one process; the median, fastest and slowest run in the worst case.
Cases of a loss: a uniform prediction (all energies tie), a half-trained and a saturated one, on
blobs and on thin, speckled labels, with each mu. A peer that takes seconds runs on the half-trained
one of blobs, once, and its memory is taken up to w=13. A factor is the smallest of all cases.
Memory: what the process grows by at most, in a process of its own where freed memory goes back at
once; gradients and results count, inputs do not. Floor: every input read and every result written
once, at the speed of a copy here, and an exponential per true line pixel and level, at the speed
of `exp` here; in memory, the result.

Without a GPU this is for Linux: peaks are read from /proc.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import published
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_boundary import losses as ours
from mmseg_boundary.config import path
from mmseg_boundary.files import atomic_write
from mmseg_boundary.geometry.distance import distances_between, signed_distances
from mmseg_boundary.labels import encode
from mmseg_boundary.losses.compiled import compile_from
from mmseg_boundary.losses.epl import reference
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from mmseg_boundary.metrics import boundary_f, count_boundary_iou, count_trimap_iou
from mmseg_boundary.report import write_report

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = {'point': 0.02, 'line': 0.2}  # of the published code
WIDTHS = (1, 2, 3, 5, 9, 15)  # BoundaryMetric's
RUNS, SECONDS = 5, 2.0  # a form runs so often, or until it has taken so long; ours at least 3 times
PUBLISHED_ELSEWHERE = """\
The published EPL as measured elsewhere (2 cores, 2 threads, beside another program, mu=10), point
and line: w=7 1.75 + 4.0 s, 1.75 GiB; w=13 4.64 + 8.49 s, 3.3 GiB.
"""


class Setting(NamedTuple):
    """What the command line says; `config` is that of `step`."""

    device: str
    threads: int
    quick: bool
    config: str


class Form(NamedTuple):
    """One way to compute something: {case: run}; what has to run once before it is measured; the
    cases whose peaks are taken, None for all."""

    cases: dict[str, Callable[[], object]]
    warm_up: Sequence[Callable[[], object]] = ()
    peaks: Sequence[str] | None = None


class Row(NamedTuple):
    """A line of the table; one of the forms is 'ours'."""

    name: str
    forms: dict[str, Form]
    moved: int  # bytes read and written, at the least
    result: int  # bytes
    threads: int
    exps: int = 0
    equal: float | None = None  # how far apart the results may be, as a share of the largest entry
    unlike: str = ''  # the form whose result is another


class Picture(NamedTuple):
    """probs: (N, K, H, W) float32 that want a gradient; labels: (N, H, W) int64, no void."""

    probs: Tensor
    labels: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('subjects', nargs='*', help=f'what to measure: {", ".join(SUBJECTS)}')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--config', help='of `step`', default=path('pspnet_epl_city'))
    parser.add_argument('--quick', action='store_true', help='tiny, to see that it runs')
    parser.add_argument('--json', help='file for all numbers, run by run')
    parser.add_argument('--beside', type=int, metavar='N', help='beside N busy processes')
    parser.add_argument('--page', help='file for the tables of docs/performance.md')
    args = parser.parse_args()
    if strangers := set(args.subjects) - set(SUBJECTS):
        given = ', '.join(map(repr, strangers))
        parser.error(f'invalid choice: {given} (choose from {", ".join(SUBJECTS)})')
    if not (args.subjects or args.beside is not None or args.page):
        parser.error(f'nothing to measure; choose of {", ".join(SUBJECTS)}, --beside and --page.')
    if args.beside is not None and args.beside < 1:
        raise SystemExit(
            f'--beside is {args.beside}; give the number of busy processes, 1 or more.'
        )
    if args.threads < 1:
        raise SystemExit(f'--threads is {args.threads}; give 1 or more.')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit(
            '--device is cuda, but torch finds no GPU here. Leave --device out to measure the CPU.'
        )
    if 'step' in args.subjects and not Path(args.config).is_file():
        raise SystemExit(f'The config {args.config} does not exist. `ls configs` lists ours.')
    setting = Setting(args.device, args.threads, args.quick, args.config)
    machine = measure_machine(setting)
    print(', '.join(f'{key} {value}' for key, value in machine.items()), flush=True)
    report = dict(machine=machine, command=sys.argv[1:], rows={})
    if args.page:
        args.subjects += [each for each in ('costs', 'step') if each not in args.subjects]
    for subject in args.subjects:
        if subject == 'losses':
            report['authors'] = compare_with_authors(setting)
        rows = report['rows'][subject] = times_of(subject, setting)
        for row, peaks in zip(rows, peaks_of(subject, setting), strict=True):
            for name, each in peaks.items():
                row['forms'][name]['peak_bytes'] = each
            floor = row['floor']
            floor['seconds'] = floor['moved_bytes'] / (1e9 * machine['copied GB/s'])
            floor['seconds'] += floor['exps'] / (1e9 * machine['G exp/s'])
        shown = cost_tables(rows) if subject == 'costs' else table(rows)
        print(f'\n{shown}\n', flush=True)
        if subject == 'losses':
            print(PUBLISHED_ELSEWHERE)
        if subject == 'step':
            mine, whole = seconds_of_step(rows)
            print(f'{100 * mine / whole:.1f} % of the time of a step\n')
    if args.beside:
        report['beside'] = beside(setting, args.beside)
        print(f'\n{beside_table(report["beside"])}\n', flush=True)
    if args.json:
        write_report(args.json, report)
    if args.page:
        with atomic_write(args.page) as unfinished:
            Path(unfinished).write_text(page(report, args.beside))


# --- Pictures -------------------------------------------------------------------------------------


def blobs(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """(N, H, W) int64: Voronoi cells, four per class, seen through smooth waves, so that their
    edges wobble. Another `wobble` has other waves and the same cells."""
    random = torch.Generator().manual_seed(0)
    waves = torch.Generator().manual_seed(1 + wobble)
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij'))
    labels = torch.zeros(images, height, width, dtype=torch.long)
    for label in labels:
        coarse = torch.randn(1, 2, height // 16 + 1, width // 16 + 1, generator=waves)
        seen = places + 4 * F.interpolate(coarse, (height, width), mode='bicubic')[0]
        best = torch.full((height, width), torch.inf)
        for number in range(4 * classes):
            y, x = torch.rand(2, generator=random) * torch.tensor([height, width])
            distance = (seen[0] - y).square() + (seen[1] - x).square()
            label[distance < best] = number % classes
            best = torch.minimum(best, distance)
    return labels


def thin(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """Blobs crossed by six lines per class, 1 to 3 px wide, and 2 % of the pixels any class."""
    random = np.random.default_rng(0)
    labels = blobs(images, classes, height, width, wobble).to(torch.uint8).numpy()
    for label in labels:
        for number in range(6 * classes):
            start, end = random.integers(0, (width, height), (2, 2)).tolist()
            cv2.line(label, start, end, number % classes, 1 + number % 3)
        speckles = random.random(label.shape) < 0.02
        label[speckles] = random.integers(0, classes, speckles.sum())
    return torch.from_numpy(labels).long()


LABELS = {'blobs': blobs, 'thin': thin}
USUAL = 'half trained, blobs'


def pictures(device: str, *shape: int, kinds: Sequence[str] = tuple(LABELS)) -> dict[str, Picture]:
    """{'prediction, labels': picture} of the shape (N, K, H, W). The half-trained prediction is the
    truth blurred, with noise; the saturated one is the truth 2 px off, all 0 and 1."""
    images, classes, height, width = shape
    found = {}
    for kind in kinds:
        labels = LABELS[kind](images, classes, height, width)
        planes = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        for name, logits in (
            ('uniform', torch.zeros(shape)),
            ('half trained', 4 * F.avg_pool2d(planes, 9, 1, 4) + noise),
            ('saturated', 200 * planes.roll(2, 3)),
        ):
            probs = logits.softmax(1).to(device).requires_grad_()
            found[f'{name}, {kind}'] = Picture(probs, labels.to(device))
    return found


# --- Losses ---------------------------------------------------------------------------------------


def there_and_back(loss: Callable, picture: Picture) -> Tensor:
    """The value, after the gradient."""
    value = loss(*picture)
    torch.autograd.grad(value, picture.probs)
    return value.detach()


def epl(probs: Tensor, labels: Tensor, form: str, part: str, w: int, mu: int, splitter='A'):
    """A term of EPL or, if `part` is 'both', their weighted sum, from probabilities and labels."""
    terms = {'ours': ours, 'plain': reference, 'published': published}[form]
    truth = labels if form == 'published' else encode(labels, probs.shape[1])
    total = 0.0
    if part != 'line':
        total += WEIGHTS['point'] * terms.epl_point_loss(probs, truth, w, splitter)
    if part != 'point':
        total += WEIGHTS['line'] * terms.epl_line_loss(probs, truth, w, splitter, mu)
    return total


def losses(setting: Setting) -> Iterator[Row]:
    shape = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    shown = pictures(setting.device, *shape)
    tiny = pictures(setting.device, 1, shape[1], 32, 32, kinds=['blobs'])[USUAL]
    for name, part, w, mus, peers in (
        ('EPL, w=7', 'both', 7, (10, 2), ('published',)),
        ('EPL, w=13', 'both', 13, (10, 2), ('plain', 'published')),
        ('EPL, w=15', 'both', 15, (10,), ('published',)),
        ('EPL, w=23', 'both', 23, (2,), ('published',)),
        ('point term, w=13', 'point', 13, (10,), ('published',)),
        ('line term, w=13', 'line', 13, (10, 2), ('published',)),
    ):
        each_mu = {mu: partial(epl, form='ours', part=part, w=w, mu=mu) for mu in mus}
        cases = {
            f'{case}, mu {mu}': partial(there_and_back, loss, picture)
            for mu, loss in each_mu.items()
            for case, picture in shown.items()
        }
        warm_up = [cases[f'{USUAL}, mu {mu}'] for mu in mus]
        # mu is nothing to the memory
        forms = {'ours': Form(cases, warm_up, [f'{case}, mu {mus[0]}' for case in shown])}
        for peer in peers:
            loss = partial(epl, form=peer, part=part, w=w, mu=mus[0])
            forms[peer] = Form(
                {f'{USUAL}, mu {mus[0]}': partial(there_and_back, loss, shown[USUAL])},
                [partial(there_and_back, loss, tiny)],
                # Peaks take twice the time: those of the wide kernels, half a minute each.
                None if part == 'both' and w <= 13 else (),
            )
        yield loss_row(setting, name, forms, shown, 0 if part == 'point' else w)
    forms = {}
    for name, loss in (
        ('ours', lambda p, y: ours.bf1_loss(p, encode(y, p.shape[1]), 3, 5)),
        ('plain', lambda p, y: published.bf1_loss(p, y, 3, 5)),
    ):
        cases = {case: partial(there_and_back, loss, each) for case, each in shown.items()}
        forms[name] = Form(cases, [cases[USUAL]])
    yield loss_row(setting, 'BF1, windows 3 and 5', forms, shown)


def loss_row(
    setting: Setting, name: str, forms: dict, shown: dict, w: int = 0, splitter: str = 'A'
) -> Row:
    """With the floor; `w` is the kernel if there are lines."""
    probs, labels = shown[USUAL]
    h, exps = w // 2, [0]
    for labels in {id(each.labels): each.labels for each in shown.values()}.values() if w else ():
        planes = encode(labels, probs.shape[1]).planes.float()
        lines = (
            ((e >= 1) & (e <= h)).sum() for e in ray_sums(planes, Rays(w, splitter, 'constant'))
        )
        exps.append(h * sum(lines).item())
    moved, exps = 2 * probs.nbytes + labels.nbytes, max(exps)
    return Row(name, forms, moved, probs.nbytes, setting.threads, exps, 1e-4, unlike='published')


def compare_with_authors(setting: Setting) -> dict[str, float]:
    """Asserts that the published EPL is our `variant='authors'`, to 1e-4.

    On a small half-trained prediction of blobs. The variant's ratios are no numbers to rely on
    where the truth has no energy near a level; and where energies all but tie, as in saturated and
    uniform predictions, rounding decides which pixels the ranks choose.
    """
    shape = (2, 4, 40, 64) if setting.quick else (2, 19, 64, 128)
    picture = pictures(setting.device, *shape, kinds=['blobs'])[USUAL]
    target, found = encode(picture.labels, shape[1]), {}
    for w, mu in ((7, 10), (13, 10), (13, 2), (15, 10), (23, 2)):
        # TF32 has not the digits that energies need to be ranked alike.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            theirs = (
                published.epl_point_loss(*picture, w),
                published.epl_line_loss(*picture, w, 'A', mu),
            )
        point = ours.epl_point_loss(picture.probs, target, w)
        line = ours.epl_line_loss(picture.probs, target, w, mu=mu, variant='authors')
        name = f"published EPL, w={w}, mu={mu}, and ours with variant='authors'"
        found[name] = difference(name, theirs, (point, line), 1e-4)
    return found


def growth(setting: Setting) -> Iterator[Row]:
    n, k, h, w = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    plans = [(f'{h * s // 2}x{w * s // 2}', k, h * s // 2, w * s // 2, 7, 'A') for s in (1, 2, 4)]
    plans += [(f'{classes} classes', classes, h, w, 7, 'A') for classes in (5, 10, 19, 40)]
    plans += [(f'w={kernel}', k, h, w, kernel, 'A') for kernel in (7, 13, 23, 31)]
    plans += [(f'splitter {splitter}', k, h, w, 7, splitter) for splitter in 'ABC']
    for name, classes, height, width, kernel, splitter in plans:
        shown = pictures(setting.device, n, classes, height, width, kinds=['blobs'])
        loss = partial(epl, form='ours', part='both', w=kernel, mu=10, splitter=splitter)
        run = partial(there_and_back, loss, shown[USUAL])
        forms = {'ours': Form({USUAL: run}, [run])}
        yield loss_row(setting, f'EPL at {name}', forms, shown, kernel, splitter)


# --- Distances and metrics ------------------------------------------------------------------------


def distances(setting: Setting) -> Iterator[Row]:
    present, height, width = (3, 24, 40) if setting.quick else (12, 512, 1024)
    classes = 19

    def measure(labels: Tensor) -> Tensor:
        target = encode(labels, classes)
        return signed_distances(target.regions, *target.measured(distances_between))

    def peer(form: Callable, labels: Tensor) -> np.ndarray:
        return form(labels[0].cpu().numpy(), classes)[None]

    maps = {kind: draw(1, present, height, width) for kind, draw in LABELS.items()}
    maps = {kind: labels.to(setting.device) for kind, labels in maps.items()}
    for threads in (1, 2):
        forms = {}
        for name, form in (
            ('ours', measure),
            ('plain', partial(peer, published.signed_distances_by_opencv)),
            ('published', partial(peer, published.signed_distances)),
        ):
            cases = {kind: partial(form, labels) for kind, labels in maps.items()}
            forms[name] = Form(cases, [cases['blobs']] if name == 'ours' else ())
        name = (
            f'signed distances, {present} of {classes} classes, {height}x{width}, {threads} threads'
        )
        labels, result = maps['blobs'], 4 * classes * height * width
        yield Row(name, forms, labels.nbytes + result, result, threads, equal=1e-4)


def metrics(setting: Setting) -> Iterator[Row]:
    """The published three beside `BoundaryMetric`, which takes the IoU too."""
    from mmseg_boundary.metrics.boundary_iou import width_at_ratio
    from mmseg_boundary.registered import BoundaryMetric

    classes, *size = (4, 24, 40) if setting.quick else (19, 1024, 2048)
    own = (width_at_ratio(*size), *WIDTHS)
    metric = BoundaryMetric(widths=WIDTHS, prefix='')
    metric.dataset_meta = dict(classes=[str(k) for k in range(classes)])
    for kind, draw in LABELS.items():
        pred, label = (draw(1, classes, *size, wobble)[0] for wobble in (1, 0))
        arrays = pred.byte().numpy(), label.byte().numpy(), classes
        given = pred.to(setting.device), label.to(setting.device), classes
        sample = dict(pred_sem_seg=dict(data=given[0][None]), gt_sem_seg=dict(data=given[1][None]))
        pairs = {
            f'Boundary IoU, {len(own)} widths': (
                partial(count_boundary_iou, *given, own),
                partial(published.count_boundary_iou, *arrays, own),
            ),
            f'boundary F, {len(WIDTHS)} radii': (
                partial(boundary_f, *given, WIDTHS),
                partial(published.boundary_f, *arrays, WIDTHS),
            ),
            f'trimap IoU, {len(WIDTHS)} widths': (
                partial(count_trimap_iou, *given, WIDTHS),
                partial(published.count_trimap_iou, *arrays, WIDTHS),
            ),
        }
        peers = [theirs for _, theirs in pairs.values()]

        def whole(metric=metric, sample=sample) -> tuple:
            metric.results.clear()
            metric.process({}, [sample])
            (record,) = metric.results
            return record['BoundaryIoU'], record['BoundaryF'], record['TrimapIoU']

        if kind == 'thin':
            pairs.clear()
        pairs['BoundaryMetric'] = whole, lambda peers=peers: [each() for each in peers]
        for name, (mine, theirs) in pairs.items():
            forms = {'ours': Form({'': mine}, [mine]), 'published': Form({'': theirs})}
            moved = pred.nbytes + label.nbytes
            yield Row(f'{name}, {kind}', forms, moved, 0, setting.threads, equal=1e-12)


# --- The training step ----------------------------------------------------------------------------


def step(setting: Setting) -> Iterator[Row]:
    """The losses of ours in the decode head, and the step (forward, backward, SGD) around them;
    random weights and images."""
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample
    from mmseg.utils import register_all_modules

    import mmseg_boundary.registered  # noqa: F401
    from mmseg_boundary.losses.decode_head_loss import DecodeHeadLoss

    config = Config.fromfile(setting.config)
    register_all_modules()
    config.model.pretrained = None
    net = revert_sync_batchnorm(MODELS.build(config.model)).to(setting.device).train()
    head = net.decode_head.loss_decode
    in_head = [
        loss
        for loss in (head if isinstance(head, torch.nn.ModuleList) else [head])
        if isinstance(loss, DecodeHeadLoss)
    ]
    if not in_head:
        raise SystemExit(f'The decode head of {setting.config} has no loss of ours.')
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    given = {}
    for loss in in_head:
        loss.register_forward_pre_hook(lambda loss, inputs: given.update({loss: inputs[:2]}))

    def train(height: int, width: int) -> None:
        inputs = torch.randn(2, 3, height, width, device=setting.device)
        samples = []
        for label in blobs(2, net.decode_head.num_classes, height, width).to(setting.device):
            samples.append(SegDataSample(metainfo=dict(img_shape=(height, width))))
            samples[-1].gt_sem_seg = PixelData(data=label[None])
        total, _ = net.parse_losses(net.loss(inputs, samples))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        for loss, (logits, labels) in given.items():
            given[loss] = logits.detach().requires_grad_(), labels

    def alone() -> list:
        return [
            torch.autograd.grad(loss(logits, labels.clone()), logits)
            for loss, (logits, labels) in given.items()
        ]

    height, width = config.crop_size
    forms = {
        'ours': Form({'': alone}, [partial(train, height, width), alone]),
        'whole step': Form({'': partial(train, height, width)}),
    }
    name = f'{" + ".join(type(loss).__name__ for loss in in_head)} in {Path(setting.config).stem}'
    result = 2 * 4 * net.decode_head.num_classes * height * width
    yield Row(name, forms, 2 * result, result, setting.threads)


# --- What a loss costs, and beside other programs -------------------------------------------------

CROPS = [(2, 6, 128, 128), (2, 19, 128, 128), (2, 6, 256, 512), (2, 19, 256, 512)]


def heads_losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """{name: function of logits and labels}: the cross-entropy, and every module of ours."""
    modules = [name for name in ours.__all__ if isinstance(getattr(ours, name), type)]
    found = {'cross-entropy': F.cross_entropy}
    return found | {name: getattr(ours, name)() for name in sorted(modules)}


def loss_runs(shape: Sequence[int], device: str) -> dict[str, Callable[[], object]]:
    """Forwards and backwards by logits, with labels that are new, as in every iteration."""
    picture = pictures(device, *shape, kinds=['blobs'])[USUAL]
    logits = (picture.probs.detach() + 1e-4).log().requires_grad_()

    def run(loss: Callable) -> None:
        torch.autograd.grad(loss(logits, picture.labels.clone()), logits)

    return {name: partial(run, loss) for name, loss in heads_losses().items()}


def costs(setting: Setting) -> Iterator[Row]:
    for shape in [(1, 4, 24, 40)] if setting.quick else CROPS:
        images, classes, height, width = shape
        runs = loss_runs(shape, setting.device)
        forms = {name: Form({'': run}, [run]) for name, run in runs.items()}
        name = f'{images} x {classes} classes, {height}x{width}'
        yield Row(name, forms, 0, 0, setting.threads)


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


def beside(setting: Setting, neighbours: int) -> dict:
    """{size: {loss: (seconds alone, seconds beside)}}, in a process of its own: how threads wait is
    read when torch loads, and is that of `train.py` if it is not set."""
    policy = os.environ.get('OMP_WAIT_POLICY')
    os.environ['OMP_WAIT_POLICY'] = policy or 'PASSIVE'
    try:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as process:
            return process.submit(slowdowns, setting, neighbours).result()
    finally:
        if policy is None:
            del os.environ['OMP_WAIT_POLICY']


def slowdowns(setting: Setting, neighbours: int) -> dict:
    set_threads(setting.threads)
    if not setting.quick:
        compile_from(0)
    sizes, found = [(4, 6, 128, 128), (2, 19, 256, 512)], {}
    for shape in [(1, 4, 24, 40)] if setting.quick else sizes:
        runs = loss_runs(shape, setting.device)
        medians = {}
        for name in ('cross-entropy', 'EPLLoss', 'BF1Loss'):
            runs[name]()
            # Long enough that a neighbour's turn, some milliseconds, is no accident.
            once = min(timed(runs[name], setting.device)[0] for _ in range(3))
            times = 1 if setting.quick else max(1, round(0.1 / once))
            medians[name] = [median_of_five(runs[name], times, setting.device)]
        busy = [
            subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(neighbours)
        ]
        try:
            for name, seconds in medians.items():
                times = 1 if setting.quick else max(1, round(0.1 / seconds[0]))
                seconds.append(median_of_five(runs[name], times, setting.device))
        finally:
            for process in busy:
                process.kill()
                process.wait()
        found['x'.join(map(str, shape))] = medians
    return found


def median_of_five(run: Callable[[], object], times: int, device: str) -> float:
    """Seconds of one run, of series of so many."""

    def series() -> None:
        for _ in range(times):
            run()

    return statistics.median(timed(series, device)[0] for _ in range(5)) / times


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
    parts = [
        '# What the losses cost',
        f'Written by `tools/benchmark.py {" ".join(command)}`, on one machine and in one '
        f'run: {machine}. Other programs may have been at work on it: read the '
        'orders of magnitude, and ratios within a table.',
        '## A loss, forwards and backwards',
        'As a decode head calls it, with the default arguments: the median of the runs, and what '
        'the process grows by at most.',
        cost_tables(report['rows']['costs']),
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


SUBJECTS = dict(
    losses=losses, distances=distances, metrics=metrics, growth=growth, step=step, costs=costs
)

# --- Measuring ------------------------------------------------------------------------------------


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    # More kernels, sizes and windows in one process than a training has.
    torch._dynamo.config.recompile_limit = 256


def timed(run: Callable[[], object], device: str) -> tuple[float, object]:
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = run()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def measure_machine(setting: Setting) -> dict:
    """What it is, and how fast it copies a large tensor and takes exponentials (CPU: of one that
    fits the cache)."""
    set_threads(setting.threads)
    cuda = setting.device == 'cuda'
    large = torch.rand(2**22 if setting.quick else 2**26, device=setting.device)
    small = large if cuda else large[: 2**18]
    copy, exps = torch.empty_like(large), torch.empty_like(small)
    copied = min(timed(lambda: copy.copy_(large), setting.device)[0] for _ in range(10))
    taken = min(timed(lambda: torch.exp(small, out=exps), setting.device)[0] for _ in range(50))
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = [line.split(': ')[1] for line in lines if line.startswith('model name')]
    return {
        'device': torch.cuda.get_device_name() if cuda else (names or ['CPU'])[0],
        'threads': setting.threads,
        'torch': torch.__version__,
        'copied GB/s': round(2 * large.nbytes / copied / 1e9, 1),
        'G exp/s': round(small.numel() / taken / 1e9, 2),
    }


def rows_of(subject: str, setting: Setting, measured: str) -> Iterator[Row]:
    """The rows, each announced when its turn has come, with its threads set."""
    if subject in ('costs', 'step') and not setting.quick:
        compile_from(0)  # as in a training
    for row in SUBJECTS[subject](setting):
        print(f'{row.name}: {measured}', file=sys.stderr, flush=True)
        set_threads(row.threads)
        yield row


def times_of(subject: str, setting: Setting) -> list[dict]:
    """The rows as `--json` has them, peaks and the floor in seconds excepted."""
    found = []
    for row in rows_of(subject, setting, 'time'):
        for form in row.forms.values():
            for run in form.warm_up:
                run()
        seconds = {form: {case: [] for case in row.forms[form].cases} for form in row.forms}
        differences = {}
        for turn in range(1 if setting.quick else RUNS):
            results = {}
            for name, form in row.forms.items():
                least = 3 if name == 'ours' else 1
                if turn >= least and sum(map(sum, seconds[name].values())) > SECONDS:
                    continue
                for case, run in form.cases.items():
                    taken, results[name, case] = timed(run, setting.device)
                    seconds[name][case].append(taken)
            for name, case in results if turn == 0 and row.equal is not None else ():
                if name not in ('ours', row.unlike):
                    label = f'{row.name}{case and f", {case}"}: {name} and ours'
                    pair = results[name, case], results['ours', case]
                    differences[label] = difference(label, *pair, row.equal)
        floor = dict(moved_bytes=row.moved, exps=row.exps, result_bytes=row.result)
        forms = {name: dict(seconds=each) for name, each in seconds.items()}
        found.append(dict(name=row.name, forms=forms, floor=floor, differences=differences))
    return found


def difference(name: str, theirs: object, ours: object, tolerance: float) -> float:
    """The largest, as a share of the largest entry; NaN equals NaN."""
    if not isinstance(theirs, (tuple, list)):
        theirs, ours = [theirs], [ours]
    found = 0.0
    for pair in zip(theirs, ours, strict=True):
        one, other = (torch.as_tensor(each).detach().double().cpu() for each in pair)
        gap = torch.where(one.isnan() & other.isnan(), 0, (one - other).abs())
        found = max(found, (gap.max() / one.nan_to_num().abs().max().clamp(min=1e-9)).item())
    if not found <= tolerance:
        raise SystemExit(f'{name} differ by {found:.1e} of the largest entry, not {tolerance:.0e}.')
    print(f'equal to {found:.0e}: {name}', flush=True)
    return found


def peaks_of(subject: str, setting: Setting) -> list[dict]:
    """Row by row {form: {case: bytes}}."""
    if setting.device == 'cuda':
        return measure_peaks(subject, setting)
    # Large blocks go back to the system when freed, so that each peak is that of what is needed.
    os.environ['MALLOC_MMAP_THRESHOLD_'] = '65536'
    try:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as process:
            return process.submit(measure_peaks, subject, setting).result()
    finally:
        del os.environ['MALLOC_MMAP_THRESHOLD_']


def measure_peaks(subject: str, setting: Setting) -> list[dict]:
    found = []
    for row in rows_of(subject, setting, 'memory'):
        peaks = {}
        for name, form in row.forms.items():
            cases = list(form.cases) if form.peaks is None else form.peaks
            for run in form.warm_up if cases else ():
                run()
            peaks[name] = {case: peak_of(form.cases[case], setting.device) for case in cases}
        found.append(peaks)
    return found


def peak_of(run: Callable[[], object], device: str) -> int:
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before = resident('VmRSS')
    run()
    return max(0, resident('VmHWM') - before)


def resident(name: str) -> int:
    """Bytes, from the kernel's account of this process."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


# --- The table ------------------------------------------------------------------------------------


def table(rows: list[dict]) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row['forms']))
    lines = [['', *names, 'floor'], ['---'] * (len(names) + 2)]
    for row in rows:
        floor = shown_time(row['floor']['seconds']), shown_size(row['floor']['result_bytes'])
        cells = [cell(row['forms'], name) for name in names]
        lines.append([row['name'], *cells, '; '.join(floor)])
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


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


def seconds_of_step(rows: list[dict]) -> list[float]:
    """The losses of ours, and the whole step."""
    return [medians_of(rows[0]['forms'][name])[''] for name in ('ours', 'whole step')]


def medians_of(form: dict) -> dict[str, float]:
    return {case: statistics.median(runs) for case, runs in form['seconds'].items()}


def smallest_factor(theirs: dict[str, float], ours: dict[str, float]) -> float:
    """Case by case; a peer that ran on one case alone stands against all of ours."""
    most = max(theirs.values())
    return min(theirs.get(case, most) / each if each else math.inf for case, each in ours.items())


def shown_time(seconds: float) -> str:
    return f'{seconds:.3g} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'


def shown_size(count: float) -> str:
    return f'{count / 2**30:.3g} GiB' if count >= 2**30 else f'{count / 2**20:.3g} MiB'


if __name__ == '__main__':
    main()

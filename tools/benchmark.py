"""Time and peak memory of losses, distances and metrics, beside plain and published forms of them.

python tools/benchmark.py losses distances metrics
python tools/benchmark.py losses --device cuda --json numbers.json
python tools/benchmark.py growth step

`losses`, `distances` and `metrics` first assert that all forms give the same numbers. `growth` has
ours alone, over image size, classes, kernel and splitter. `step` has EPL beside the whole training
step that it is part of.

Time: the forms take turns in one process; the median, the fastest and the slowest run of the worst
case of ours. Cases are uniform (all energies tie), half-trained and saturated predictions, on blobs
and on thin, speckled labels. A peer that takes seconds runs on the half-trained one of blobs, once.
Factors are the smallest of all cases. Memory: what the process grows by at most, in a process of
its own where freed memory goes back at once; inputs do not count, gradients and results do. Floor:
each input read and each result written once, at the speed of a copy here, and one exponential per
true line pixel and level, at the speed of `exp` here; in memory the result.

'plain': the first readable EPL (`tests/readable/epl.py`); BF1 by `max_pool2d`; OpenCV's distances
in two passes. 'published': `published.py`. On the CPU Linux alone: peaks are read from /proc.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
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

from mmseg_boundary.geometry.distance import distances_between, signed_distances
from mmseg_boundary.geometry.rays import ray_sums
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import bf1_loss, epl_line_loss, epl_point_loss
from mmseg_boundary.metrics import boundary_f, count_boundary_iou, count_trimap_iou
from mmseg_boundary.report import write_report

ROOT = Path(__file__).resolve().parent.parent
POINT_WEIGHT, LINE_WEIGHT = 0.02, 0.2  # of the published code
WIDTHS = (1, 2, 3, 5, 9, 15)  # BoundaryMetric's
RUNS, SECONDS = 5, 4.0  # a form runs so often, or until it has taken so long
# The published EPL elsewhere: 2 cores, 2 threads, 2x19x256x512, splitter A, mu 10, with another
# program running; point and line in seconds, both in GiB.
PUBLISHED_BEFORE = {7: (1.75, 4.0, 1.75), 13: (4.64, 8.49, 3.3)}


class Setting(NamedTuple):
    """What the command line says; `config` is that of `step`."""

    device: str
    threads: int
    quick: bool
    config: str


class Form(NamedTuple):
    """One way to compute it: {case: run}; what has to run once before; whether peaks are taken."""

    cases: dict[str, Callable[[], object]]
    warm_up: list[Callable[[], object]]
    peak: bool = True


class Row(NamedTuple):
    """One line of the table; of `forms`, 'ours' comes first."""

    name: str
    forms: dict[str, Form]
    floor: tuple[int, int]  # bytes to move, exponentials
    result: int  # bytes
    threads: int


class Picture(NamedTuple):
    """probs: (N, K, H, W) float32 that want a gradient; labels: (N, H, W) int64, no void."""

    probs: Tensor
    labels: Tensor


def main() -> None:
    args = arguments()
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit(
            '--device is cuda, but torch finds no GPU here. Leave --device out to measure the CPU.'
        )
    setting = Setting(args.device, args.threads, args.quick, args.config)
    set_threads(setting.threads)
    machine = measure_machine(setting)
    print(
        f'{machine["device"]}, {setting.threads} threads, torch {torch.__version__}: copies '
        f'{machine["bytes_per_second"] / 1e9:.1f} GB/s, '
        f'{machine["exps_per_second"] / 1e9:.2f} G exp/s\n',
        flush=True,
    )
    report = dict(machine=machine, command=sys.argv[1:], checks={}, rows={})
    for subject in args.subjects:
        report['checks'][subject] = CHECKS[subject](setting) if subject in CHECKS else {}
        for name, difference in report['checks'][subject].items():
            print(f'equal: {name} (to {difference:.1e})', flush=True)
        times = times_of(subject, setting)
        rows = with_peaks(times, peaks_of(subject, setting), machine)
        report['rows'][subject] = rows
        print(f'\n{table(rows)}\n', flush=True)
        if subject == 'losses' and not setting.quick:
            print_published_before()
    if args.json:
        write_report(args.json, report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('subjects', nargs='+', choices=SUBJECTS, help='what to measure')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--config', help='of `step`', default='configs/pspnet_epl_city.py')
    parser.add_argument('--quick', action='store_true', help='tiny, to see that it runs')
    parser.add_argument('--json', help='file for all numbers, run by run')
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f'--threads is {args.threads}; give 1 or more.')
    return args


# --- Pictures -------------------------------------------------------------------------------------


def blobs(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """(N, H, W) int64: Voronoi cells, four per class, seen through smooth waves, so that their
    edges wobble. Another `wobble` has other waves and nearly the same cells."""
    random = torch.Generator().manual_seed(0)
    waves = torch.Generator().manual_seed(1 + wobble)
    size = torch.tensor([height, width])
    places = torch.stack(torch.meshgrid(*map(torch.arange, (height, width)), indexing='ij'))
    labels = []
    for _ in range(images):
        coarse = torch.randn(1, 2, max(2, height // 16), max(2, width // 16), generator=waves)
        seen = places + 4 * F.interpolate(coarse, (height, width), mode='bicubic')[0]
        best, nearest = torch.full((height, width), torch.inf), torch.zeros(height, width).long()
        for number in range(4 * classes):
            seed = torch.rand(2, generator=random) * size
            distance = (seen[0] - seed[0]).square() + (seen[1] - seed[1]).square()
            nearest[distance < best] = number % classes
            best = torch.minimum(best, distance)
        labels.append(nearest)
    return torch.stack(labels)


def thin(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """Blobs crossed by six lines per class, 1 to 3 px wide, and 2 % of the pixels any class."""
    random = np.random.default_rng(0)
    labels = blobs(images, classes, height, width, wobble).to(torch.uint8).numpy()
    for label in labels:
        for number in range(6 * classes):
            (y0, y1), (x0, x1) = random.integers(0, height, 2), random.integers(0, width, 2)
            ends = (int(x0), int(y0)), (int(x1), int(y1))
            cv2.line(label, *ends, number % classes, 1 + number % 3)
        speckles = random.random(label.shape) < 0.02
        label[speckles] = random.integers(0, classes, speckles.sum())
    return torch.from_numpy(labels).long()


LABELS = {'blobs': blobs, 'thin': thin}


def predictions(labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Probabilities: all alike; the truth blurred, with noise; the truth two pixels off, where
    every probability is 0 or 1."""
    planes = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
    noise = torch.randn(planes.shape, generator=torch.Generator().manual_seed(2))
    return {
        'uniform': torch.zeros_like(planes).softmax(1),
        'half trained': (4 * F.avg_pool2d(planes, 9, 1, 4) + noise).softmax(1),
        'saturated': (200 * planes.roll(2, 3)).softmax(1),
    }


def pictures(shape: tuple[int, int, int, int], device: str, kinds=tuple(LABELS)) -> dict:
    """{'prediction, labels': Picture} of (N, K, H, W)."""
    images, classes, height, width = shape
    found = {}
    for kind in kinds:
        labels = LABELS[kind](images, classes, height, width)
        for name, probs in predictions(labels, classes).items():
            probs = probs.to(device).requires_grad_()
            found[f'{name}, {kind}'] = Picture(probs, labels.to(device))
    return found


# --- Losses ---------------------------------------------------------------------------------------


def ours_point(probs: Tensor, labels: Tensor, w: int, mu: int, splitter: str = 'A') -> Tensor:
    return epl_point_loss(probs, encode(labels, probs.shape[1]), w, splitter)


def ours_line(probs: Tensor, labels: Tensor, w: int, mu: int, splitter: str = 'A') -> Tensor:
    return epl_line_loss(probs, encode(labels, probs.shape[1]), w, splitter, mu)


def ours_full(probs: Tensor, labels: Tensor, w: int, mu: int, splitter: str = 'A') -> Tensor:
    target = encode(labels, probs.shape[1])
    line = epl_line_loss(probs, target, w, splitter, mu)
    return POINT_WEIGHT * epl_point_loss(probs, target, w, splitter) + LINE_WEIGHT * line


def plain_epl(probs: Tensor, labels: Tensor, w: int, mu: int, part: str) -> Tensor:
    readable, target = readable_epl(), encode(labels, probs.shape[1])
    point = readable.epl_point_loss(probs, target, w) if part != 'line' else 0
    line = readable.epl_line_loss(probs, target, w, mu=mu) if part != 'point' else 0
    return POINT_WEIGHT * point + LINE_WEIGHT * line


def published_epl(probs: Tensor, labels: Tensor, w: int, mu: int, part: str) -> Tensor:
    point = published.epl_point_loss(probs, labels, w) if part != 'line' else 0
    line = published.epl_line_loss(probs, labels, w, mu) if part != 'point' else 0
    return POINT_WEIGHT * point + LINE_WEIGHT * line


def ours_bf1(probs: Tensor, labels: Tensor) -> Tensor:
    return bf1_loss(probs, encode(labels, probs.shape[1]), 3, 5)


def plain_bf1(probs: Tensor, labels: Tensor) -> Tensor:
    return published.bf1_loss(probs, labels, 3, 5)


def readable_epl():
    if not (ROOT / 'tests/readable/epl.py').is_file():
        raise SystemExit(f'{ROOT} has no tests/readable/epl.py; run tools/benchmark.py of a clone.')
    if str(ROOT / 'tests') not in sys.path:
        sys.path.append(str(ROOT / 'tests'))
    from readable import epl

    return epl


def there_and_back(loss: Callable, picture: Picture) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    value = loss(*picture)
    return value.detach(), *torch.autograd.grad(value, picture.probs)


def losses(setting: Setting) -> Iterator[Row]:
    shape = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    shown = pictures(shape, setting.device)
    tiny = next(iter(pictures((1, shape[1], 32, 32), setting.device).values()))
    usual = 'half trained, blobs'

    def row(name: str, w: int, mus: tuple, ours: Callable, part: str, peers: str) -> Row:
        """Ours in all cases; peers once, with the first mu, which is nothing to their time."""
        forms = [partial(ours, w=w, mu=mu) for mu in mus]
        cases = {
            f'{case}, mu {mu}': partial(there_and_back, form, picture)
            for mu, form in zip(mus, forms, strict=True)
            for case, picture in shown.items()
        }
        found = {'ours': Form(cases, [partial(there_and_back, f, shown[usual]) for f in forms])}
        for peer in peers.split():
            form = partial({'plain': plain_epl, 'published': published_epl}[peer], w=w, mu=mus[0])
            form = partial(form, part=part)
            found[peer] = Form(
                {usual: partial(there_and_back, form, shown[usual])},
                [partial(there_and_back, form, tiny)],
                # Half a minute and 5 GiB, which the wider kernels need not be asked for.
                peak=w <= 13,
            )
        floor = floor_of(shown, 0 if part == 'point' else w)
        return Row(name, found, floor, shown[usual].probs.nbytes, setting.threads)

    both = 'plain published'
    yield row('EPL, w=7', 7, (10, 2), ours_full, 'both', both)
    yield row('EPL, w=13', 13, (10, 2), ours_full, 'both', both)
    yield row('EPL, w=15', 15, (10,), ours_full, 'both', 'published')
    yield row('EPL, w=23', 23, (2,), ours_full, 'both', 'published')
    yield row('its point term, w=13', 13, (10,), ours_point, 'point', both)
    yield row('its line term, w=13', 13, (10, 2), ours_line, 'line', both)
    bf1 = {
        name: Form(
            {case: partial(there_and_back, form, picture) for case, picture in shown.items()},
            [partial(there_and_back, form, shown[usual])],
        )
        for name, form in (('ours', ours_bf1), ('plain', plain_bf1))
    }
    result = shown[usual].probs.nbytes
    yield Row('BF1, windows 3 and 5', bf1, floor_of(shown, 0), result, setting.threads)


def floor_of(shown: dict[str, Picture], w: int, splitter: str = 'A') -> tuple[int, int]:
    """Bytes of probabilities, labels and gradient; with a kernel, exponentials of the lines."""
    probs, labels = next(iter(shown.values()))
    moved, h, most = 2 * probs.nbytes + labels.nbytes, w // 2, 0
    for labels in {id(p.labels): p.labels for p in shown.values()}.values() if w else ():
        planes = encode(labels, probs.shape[1]).planes.float()
        sums = ray_sums(planes, w, splitter, 'constant')
        most = max(most, h * sum(((e >= 1) & (e <= h)).sum().item() for e in sums))
    return moved, most


def check_losses(setting: Setting) -> dict[str, float]:
    """{what is equal: largest relative difference}.

    The published EPL is compared with our `variant='authors'` on a small half-trained prediction of
    blobs: there its ratios are sound. They are not where the truth has no energy near a level, and
    where energies tie or all but tie, rounding decides which pixels the ranks choose.
    """
    shape = (1, 4, 32, 40) if setting.quick else (2, 19, 64, 128)
    picture = pictures(shape, setting.device, ['blobs'])['half trained, blobs']
    found = {}
    for w, mu in ((7, 10), (7, 2)) if setting.quick else ((7, 10), (13, 2), (15, 10), (23, 2)):
        target = encode(picture.labels, shape[1])
        require_equal(
            found,
            f"published EPL and variant='authors', w={w}, mu={mu}",
            [published.epl_point_loss(*picture, w), published.epl_line_loss(*picture, w, mu)],
            [
                epl_point_loss(picture.probs, target, w),
                epl_line_loss(picture.probs, target, w, mu=mu, variant='authors'),
            ],
        )
        plain = partial(plain_epl, w=w, mu=mu, part='both')
        require_equal(
            found,
            f'plain EPL and ours, gradients too, w={w}, mu={mu}',
            there_and_back(plain, picture),
            there_and_back(partial(ours_full, w=w, mu=mu), picture),
        )
    theirs, ours = (there_and_back(loss, picture) for loss in (plain_bf1, ours_bf1))
    require_equal(found, 'BF1 by max_pool2d and ours, gradients too', theirs, ours)
    return found


def require_equal(found: dict, name: str, theirs, ours, tolerance: float = 1e-4) -> None:
    """Adds the largest difference, relative to the largest entry."""
    difference = 0.0
    for one, other in zip(theirs, ours, strict=True):
        one, other = torch.as_tensor(one).double().cpu(), torch.as_tensor(other).double().cpu()
        one, other = one.nan_to_num(nan=-1), other.nan_to_num(nan=-1)
        scale = one.abs().max().clamp(min=1e-30)
        difference = max(difference, ((one - other).abs().max() / scale).item())
    if not difference <= tolerance:
        raise SystemExit(f'{name}: they differ by {difference:.1e} of the largest; at most 1e-4.')
    found[name] = difference


def print_published_before() -> None:
    print(
        'The published EPL elsewhere (2 cores with AVX-512, 2 threads, another program beside it):'
    )
    for w, (point, line, memory) in PUBLISHED_BEFORE.items():
        print(f'  w={w}: point {point} s, line {line} s, both {point + line:.2f} s, {memory} GiB')
    print()


def growth(setting: Setting) -> Iterator[Row]:
    base = (1, 4, 24, 40) if setting.quick else (2, 19, 256, 512)
    images, classes, height, width = base
    rows = [
        (
            f'{height * k // 2}x{width * k // 2}',
            (images, classes, height * k // 2, width * k // 2),
            7,
            'A',
        )
        for k in (1, 2, 4)
    ]
    rows += [(f'{k} classes', (images, k, height, width), 7, 'A') for k in (5, 10, 19, 40)]
    rows += [(f'w={w}', base, w, 'A') for w in (7, 13, 23, 31)]
    rows += [(f'splitter {s}', base, 7, s) for s in 'ABC']
    for name, shape, w, splitter in rows:
        shown = pictures(shape, setting.device, ['blobs'])
        usual = shown['half trained, blobs']
        form = partial(ours_full, w=w, mu=10, splitter=splitter)
        run = partial(there_and_back, form, usual)
        floor = floor_of(shown, w, splitter)
        forms = {'ours': Form({'half trained, blobs': run}, [run])}
        yield Row(f'EPL, {name}', forms, floor, usual.probs.nbytes, setting.threads)


# --- Distances ------------------------------------------------------------------------------------


def ours_distances(labels: Tensor, classes: int) -> Tensor:
    target = encode(labels, classes)
    return signed_distances(target.regions, *target.measured(distances_between))


def distance_maps(setting: Setting) -> dict[str, Tensor]:
    present, *size = (3, 24, 40) if setting.quick else (12, 512, 1024)
    return {kind: make(1, present, *size).to(setting.device) for kind, make in LABELS.items()}


def distances(setting: Setting) -> Iterator[Row]:
    maps, classes = distance_maps(setting), 19
    for threads in (1, 2):
        forms = {'ours': {k: partial(ours_distances, each, classes) for k, each in maps.items()}}
        for name, peer in (
            ('plain', published.signed_distances_opencv),
            ('published', published.signed_distances),
        ):
            forms[name] = {
                kind: lambda each=each, peer=peer: peer(each[0].cpu().numpy(), classes)
                for kind, each in maps.items()
            }
        forms = {name: Form(cases, list(cases.values())[:1]) for name, cases in forms.items()}
        label = next(iter(maps.values()))
        present = len(label.unique())
        size = 'x'.join(map(str, label.shape[1:]))
        name = f'signed distances, {present} of {classes} classes, {size}, {threads} threads'
        result = 4 * classes * label.numel()
        yield Row(name, forms, (label.nbytes + result, 0), result, threads)


def check_distances(setting: Setting) -> dict[str, float]:
    """scipy's are exact; OpenCV's may be 1e-3 px off, at distances of hundreds."""
    found = {}
    for kind, label in distance_maps(setting).items():
        ours, array = ours_distances(label, 19)[0], label[0].cpu().numpy()
        theirs = published.signed_distances(array, 19)
        require_equal(found, f"scipy's signed distances and ours, {kind}", [theirs], [ours])
    return found


# --- Metrics --------------------------------------------------------------------------------------


def metric_maps(setting: Setting, kind: str) -> tuple[Tensor, Tensor, int]:
    """Prediction and truth, which wobble differently, and the number of classes."""
    classes, *size = (4, 24, 40) if setting.quick else (19, 1024, 2048)
    pred, label = (LABELS[kind](1, classes, *size, wobble)[0] for wobble in (1, 0))
    return pred.to(setting.device), label.to(setting.device), classes


def metric_forms(setting: Setting, kind: str) -> dict[str, dict[str, Callable]]:
    from mmseg_boundary.metrics.boundary_iou import width_at_ratio

    pred, label, classes = metric_maps(setting, kind)
    own = (width_at_ratio(*label.shape), *WIDTHS)
    arrays = pred.cpu().numpy().astype(np.uint8), label.cpu().numpy().astype(np.uint8), classes
    return {
        f'Boundary IoU, {len(own)} widths': {
            'ours': partial(count_boundary_iou, pred, label, classes, own),
            'published': partial(published.count_boundary_iou, *arrays, own),
        },
        f'boundary F, {len(WIDTHS)} radii': {
            'ours': partial(boundary_f, pred, label, classes, WIDTHS),
            'published': partial(published.boundary_f, *arrays, WIDTHS),
        },
        f'trimap IoU, {len(WIDTHS)} widths': {
            'ours': partial(count_trimap_iou, pred, label, classes, WIDTHS),
            'published': partial(published.count_trimap_iou, *arrays, WIDTHS),
        },
    }


def metrics(setting: Setting) -> Iterator[Row]:
    rows = metric_forms(setting, 'blobs')
    for kind in LABELS:
        peers = [forms['published'] for forms in metric_forms(setting, kind).values()]
        rows[f'BoundaryMetric, the three and IoU, {kind}'] = {
            'ours': whole_metric(*metric_maps(setting, kind)),
            'published': lambda peers=peers: [peer() for peer in peers],
        }
    moved = sum(each.nbytes for each in metric_maps(setting, 'blobs')[:2])
    for name, forms in rows.items():
        forms = {form: Form({'': run}, [run]) for form, run in forms.items()}
        yield Row(name, forms, (moved, 0), 0, setting.threads)


def whole_metric(pred: Tensor, label: Tensor, classes: int) -> Callable[[], object]:
    from mmseg_boundary.registered import BoundaryMetric

    metric = BoundaryMetric(widths=WIDTHS)
    metric.dataset_meta = dict(classes=[str(k) for k in range(classes)])
    sample = dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))

    def run() -> None:
        metric.results.clear()
        metric.process({}, [sample])

    return run


def check_metrics(setting: Setting) -> dict[str, float]:
    found = {}
    for kind in LABELS:
        for name, forms in metric_forms(setting, kind).items():
            name = f'published {name} and ours, {kind}'
            require_equal(found, name, [forms['published']()], [forms['ours']()], 1e-12)
    return found


# --- The training step ----------------------------------------------------------------------------


def step(setting: Setting) -> Iterator[Row]:
    """The losses of ours in a head beside the step: forward, backward, SGD; random weights."""
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    import mmseg_boundary.registered  # noqa: F401
    from mmseg_boundary.losses.decode_head_loss import DecodeHeadLoss

    if not Path(setting.config).is_file():
        raise SystemExit(f'The config {setting.config} does not exist. `ls configs` lists ours.')
    config = Config.fromfile(setting.config)
    init_default_scope('mmseg')
    config.model.pretrained = None
    torch.manual_seed(0)
    net = revert_sync_batchnorm(MODELS.build(config.model)).to(setting.device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    images, classes = 1 if setting.quick else 2, net.decode_head.num_classes
    given = {}
    ours = [m for m in net.decode_head.modules() if isinstance(m, DecodeHeadLoss)]
    outer = [m for m in ours if not any(m is not o and m in o.modules() for o in ours)]
    if not outer:
        raise SystemExit(f'{setting.config} has no loss of ours; give --config one that has.')
    for loss in outer:
        loss.register_forward_pre_hook(
            lambda loss, args: given.update({loss: [each.detach() for each in args[:2]]})
        )

    def train(height: int, width: int) -> None:
        inputs = torch.randn(images, 3, height, width, device=setting.device)
        samples = []
        for label in blobs(images, classes, height, width).to(setting.device):
            sample = SegDataSample(metainfo=dict(img_shape=(height, width)))
            samples.append(sample.set_data(dict(gt_sem_seg=PixelData(data=label[None]))) or sample)
        total, _ = net.parse_losses(net.loss(inputs, samples))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    def losses_alone() -> None:
        for loss, (logits, labels) in given.items():
            logits = logits.requires_grad_()
            torch.autograd.grad(loss(logits, labels.clone()), logits)

    size = config.crop_size
    moved = 2 * 4 * images * classes * size[0] * size[1]
    whole, alone = partial(train, *size), losses_alone
    # The step comes first, once: it brings the logits.
    forms = {
        'whole step': Form({'': whole}, [partial(train, size[0] // 2, size[1] // 2)]),
        'ours': Form({'': alone}, [whole, alone]),
    }
    yield Row(
        f'{" + ".join(type(loss).__name__ for loss in outer)} in {Path(setting.config).stem}',
        {'ours': forms['ours'], 'whole step': forms['whole step']},
        (moved, 0),
        moved // 2,
        setting.threads,
    )


SUBJECTS = dict(losses=losses, distances=distances, metrics=metrics, growth=growth, step=step)
CHECKS = dict(losses=check_losses, distances=check_distances, metrics=check_metrics)


# --- Measuring ------------------------------------------------------------------------------------


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def wait_for(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def seconds_of(run: Callable[[], object], device: str) -> float:
    wait_for(device)
    start = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - start


def measure_machine(setting: Setting) -> dict:
    """How fast here a large tensor is copied, and exponentials are taken of one in the cache."""
    large = torch.rand(2**24 if setting.quick else 2**26, device=setting.device)
    copy = torch.empty_like(large)
    small = large[: 2**18] if setting.device == 'cpu' else large
    out, times = torch.empty_like(small), {'copy': [], 'exp': []}
    for _ in range(10):
        times['copy'].append(seconds_of(lambda: copy.copy_(large), setting.device))
        times['exp'].append(seconds_of(lambda: torch.exp(small, out=out), setting.device))
    cuda = setting.device == 'cuda'
    return dict(
        device=torch.cuda.get_device_name() if cuda else cpu_name(),
        threads=setting.threads,
        torch=torch.__version__,
        bytes_per_second=2 * large.nbytes / min(times['copy']),
        exps_per_second=small.numel() / min(times['exp']),
    )


def cpu_name() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    return next((line.split(': ')[1] for line in lines if line.startswith('model name')), 'CPU')


def times_of(subject: str, setting: Setting) -> list[dict]:
    """Row by row {'name', 'forms': {form: {'seconds': {case: [s]}}}, ...}."""
    found = []
    for row in SUBJECTS[subject](setting):
        say(f'{row.name}: time')
        set_threads(row.threads)
        seconds = {form: {case: [] for case in row.forms[form].cases} for form in row.forms}
        for form in row.forms.values():
            for run in form.warm_up:
                run()
        for turn in range(1 if setting.quick else RUNS):
            for name, form in row.forms.items():
                if turn and sum(map(sum, seconds[name].values())) > SECONDS:
                    continue
                for case, run in form.cases.items():
                    seconds[name][case].append(seconds_of(run, setting.device))
        forms = {name: dict(seconds=each) for name, each in seconds.items()}
        floor = dict(bytes=row.floor[0], exps=row.floor[1], result_bytes=row.result)
        found.append(dict(name=row.name, forms=forms, floor=floor))
    return found


def peaks_of(subject: str, setting: Setting) -> list[dict]:
    """Row by row {form: {case: bytes}}."""
    if setting.device == 'cuda':
        return measure_peaks(subject, setting)
    # Large blocks go back to the system when freed, and each peak is that of what is needed.
    os.environ['MALLOC_MMAP_THRESHOLD_'] = '65536'
    try:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as process:
            return process.submit(measure_peaks, subject, setting).result()
    finally:
        del os.environ['MALLOC_MMAP_THRESHOLD_']


def measure_peaks(subject: str, setting: Setting) -> list[dict]:
    found = []
    for row in SUBJECTS[subject](setting):
        say(f'{row.name}: memory')
        set_threads(row.threads)
        peaks = {}
        for name, form in row.forms.items():
            if form.peak:
                for run in form.warm_up:
                    run()
                peaks[name] = {c: peak_of(r, setting.device) for c, r in form.cases.items()}
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
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


# --- The table ------------------------------------------------------------------------------------


def with_peaks(rows: list[dict], peaks: list[dict], machine: dict) -> list[dict]:
    """The rows, with the peaks and the floor in seconds."""
    for row, found in zip(rows, peaks, strict=True):
        for name, each in found.items():
            row['forms'][name]['peak_bytes'] = each
        floor = row['floor']
        floor['seconds'] = floor['bytes'] / machine['bytes_per_second']
        floor['seconds'] += floor['exps'] / machine['exps_per_second']
    return rows


def table(rows: list[dict]) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row['forms']))
    lines = [['', *names, 'floor'], ['---'] * (len(names) + 2)]
    for row in rows:
        cells = [cell(row['forms'], name) for name in names]
        floor = f'{shown_time(row["floor"]["seconds"])}; {shown_size(row["floor"]["result_bytes"])}'
        lines.append([row['name'], *cells, floor])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def cell(forms: dict, name: str) -> str:
    if name not in forms:
        return ''
    medians = {case: statistics.median(runs) for case, runs in forms[name]['seconds'].items()}
    worst = max(medians, key=medians.get)
    text = shown_time(medians[worst])
    runs = forms[name]['seconds'][worst]
    if len(runs) > 1:
        text += f' ({shown_time(min(runs))} to {shown_time(max(runs))})'
    peaks = forms[name].get('peak_bytes')
    if name != 'ours':
        ours = {c: statistics.median(r) for c, r in forms['ours']['seconds'].items()}
        text += f' = {smallest_factor(medians, ours):.3g}x'
    if peaks:
        text += f'; {shown_size(max(peaks.values()))}'
        if name != 'ours':
            text += f' = {smallest_factor(peaks, forms["ours"]["peak_bytes"]):.3g}x'
    return text


def smallest_factor(theirs: dict[str, float], ours: dict[str, float]) -> float:
    """Case by case; a peer that ran on one case alone stands against all of ours."""
    most = max(theirs.values())
    return min(theirs.get(case, most) / max(value, 1e-9) for case, value in ours.items())


def shown_time(seconds: float) -> str:
    return f'{seconds:.3g} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'


def shown_size(count: float) -> str:
    return f'{count / 2**30:.3g} GiB' if count >= 2**30 else f'{count / 2**20:.3g} MiB'


if __name__ == '__main__':
    main()

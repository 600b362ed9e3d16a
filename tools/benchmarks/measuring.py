"""Time, and memory at its peak."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from mmseg_boundary import losses as ours
from mmseg_boundary.compiled import compile_from
from mmseg_boundary.labels import encode

from . import peers
from .cases import SUBJECTS, Row, Setting, loss_runs
from .scenes import USUAL, samples

RUNS, SECONDS = 5, 2.0  # a form runs so often, or until it has taken so long; ours at least 3 times


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    # One process has more kernels, sizes and windows here than a training has.
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
    """The machine, and how fast it copies a large tensor and computes exponentials (on the CPU of
    one that fits the cache)."""
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
        'load average at the start': round(os.getloadavg()[0], 1),
    }


def rows_of(subject: str, setting: Setting, what: str) -> Iterator[Row]:
    """The rows, each announced when its turn has come, with its threads set."""
    if subject in ('costs', 'step', 'others') and not setting.quick:
        compile_from(0)  # as in a training
    for row in SUBJECTS[subject](setting):
        print(f'{row.name}: {what}', file=sys.stderr, flush=True)
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
    """The largest difference, as a share of the largest entry; NaN equals NaN."""
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


def compare_with_authors(setting: Setting) -> dict[str, float]:
    """Asserts that the published EPL is our `variant='authors'`, to 1e-4.

    They are compared on a small half-trained prediction of blobs. The variant's ratios cannot be
    relied on where the target has no energy near a level; and where energies nearly tie, as in
    saturated and uniform predictions, rounding decides which pixels the ranks choose.
    """
    shape = (2, 4, 40, 64) if setting.quick else (2, 19, 64, 128)
    sample = samples(setting.device, *shape, kinds=['blobs'])[USUAL]
    target, found = encode(sample.labels, shape[1]), {}
    for w, mu in ((7, 10), (13, 10), (13, 2), (15, 10), (23, 2)):
        # TF32 has too few digits to rank energies alike.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            theirs = (
                peers.epl_point_loss(*sample, w),
                peers.epl_line_loss(*sample, w, 'A', mu),
            )
        point = ours.epl_point_loss(sample.probs, target, w)
        line = ours.epl_line_loss(sample.probs, target, w, mu=mu, variant='authors')
        name = f"published EPL, w={w}, mu={mu}, and ours with variant='authors'"
        found[name] = difference(name, theirs, (point, line), 1e-4)
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


# --- Beside other programs ------------------------------------------------------------------------


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
    """Seconds of one run: the median of five series of `times` runs."""

    def series() -> None:
        for _ in range(times):
            run()

    return statistics.median(timed(series, device)[0] for _ in range(5)) / times

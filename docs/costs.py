"""Measures what the losses cost on the CPU: the tables of docs/ are copied from here.

OMP_NUM_THREADS=1 python docs/costs.py

Each loss runs in a process of its own, forwards and backwards, on the same labels and logits, as a
decode head would call it. Linux alone: the peak is read from /proc.
"""

import argparse
import ctypes
import statistics
import subprocess
import sys
import time
from pathlib import Path

LOSSES = {
    'cross-entropy': dict(type='CrossEntropyLoss', avg_non_ignore=True),
    'EPLPointLoss': dict(type='EPLPointLoss'),
    'EPLLineLoss': dict(type='EPLLineLoss', mu=2),
    'EPLLoss': dict(type='EPLLoss', mu=2),
    'KervadecBoundaryLoss': dict(type='KervadecBoundaryLoss'),
    'DistanceTransformLoss': dict(type='DistanceTransformLoss'),
    'BF1Loss': dict(type='BF1Loss'),
    'BoundaryWeightedCELoss': dict(type='BoundaryWeightedCELoss'),
    'SoftDiceLoss': dict(type='SoftDiceLoss'),
    'JaccardLoss': dict(type='JaccardLoss'),
    'SoftmaxFocalLoss': dict(type='SoftmaxFocalLoss'),
}


def main() -> None:
    """Prints one line per loss."""
    parser = argparse.ArgumentParser(description='Measure the losses on the CPU')
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--classes', type=int, default=11)
    parser.add_argument('--size', type=int, nargs=2, default=[240, 320], help='height and width')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--only', choices=LOSSES, help='in this process, without a headline')
    args = parser.parse_args()
    if args.only:
        seconds, peak = measure(args.only, args.images, args.classes, *args.size, args.repeats)
        print(f'| {args.only} | {1000 * seconds:.0f} ms | {peak:.0f} MiB |')
        return
    print('| loss | forward and backward | memory at its peak |\n|---|---|---|', flush=True)
    for name in LOSSES:
        command = [sys.executable, '-W', 'ignore', __file__, *sys.argv[1:], '--only', name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(done.stdout.splitlines()[-1], flush=True)  # before it, greetings of the stack


def measure(name: str, images: int, classes: int, height: int, width: int, repeats: int) -> tuple:
    """(seconds, MiB): the median of the repeats; what the process grew by at most."""
    import torch
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    import mmseg_boundary.registered  # noqa: F401

    register_all_modules()
    torch.manual_seed(0)
    # A patch for every class of a coarse map: objects of many sizes, all classes in every image.
    seeds = torch.rand(images, 4 * classes, 2) * torch.tensor([height, width])
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    labels = torch.stack([torch.cdist(pixels, each).argmin(1) for each in seeds]) % classes
    labels = labels.view(images, height, width)
    logits = torch.randn(images, classes, height, width, requires_grad=True)
    loss = MODELS.build(LOSSES[name])

    def run(logits, labels):
        # Anew, as a head stacks its labels in every iteration: distances are measured again.
        loss(logits, labels.clone(), ignore_index=255).backward()
        logits.grad = None

    run(logits, labels)  # libraries are loaded, and large kernels compiled, by the first
    del pixels, seeds
    ctypes.CDLL(None).malloc_trim(0)  # what it left is given back, and counts when taken again
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before = memory('VmRSS')
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(logits, labels)
        times.append(time.perf_counter() - start)
    return statistics.median(times), memory('VmHWM') - before


def memory(name: str) -> float:
    """MiB, from the kernel's account of this process."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


if __name__ == '__main__':
    main()

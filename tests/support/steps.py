"""Prints how far the memory's peak grows over 500 steps of one loss, in a process of its own.

python tests/support/steps.py EPLLoss                      bytes on the CPU
python tests/support/steps.py EPLLoss --device cuda
python tests/support/steps.py EPLLoss --keep target        a leak: every step's masks are kept
"""

import argparse
import re
from pathlib import Path

import torch

from mmseg_boundary import losses
from mmseg_boundary.losses.decode_head_loss import shared_target

WARM_UP = 50
STEPS = 500
SHAPE = 2, 6, 24, 32


def main() -> None:
    """Prints the growth in bytes."""
    parser = argparse.ArgumentParser()
    parser.add_argument('name')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--keep', choices=['value', 'target'])
    args = parser.parse_args()
    loss = getattr(losses, args.name)().to(args.device)
    kept = []
    for number in range(WARM_UP + STEPS):
        if number == WARM_UP:
            before = peak(args.device)
        value, target = step(loss, args.device)
        if args.keep:
            kept.append(dict(value=value, target=target)[args.keep])
    print(peak(args.device) - before)


def step(loss, device):
    """One step with new labels, as in training."""
    images, classes, height, width = SHAPE
    labels = torch.randint(classes, (images, 3, 4), device=device)
    labels = labels.repeat_interleave(height // 3, 1).repeat_interleave(width // 4, 2)
    labels[:, :2] = 255
    logits = torch.randn(SHAPE, device=device, requires_grad=True)
    value = loss(logits, labels)
    value.backward()
    return value, shared_target(labels, logits, 255)


def peak(device):
    """The peak of the memory, in bytes."""
    if device == 'cuda':
        return torch.cuda.max_memory_allocated()
    return int(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024


if __name__ == '__main__':
    main()

"""Processes that are forked from a test, which has imported everything already."""

import os
import signal
import sys

import cv2
import torch


def as_ranks(ranks, work, folder):
    """Whether `work(rank)` succeeds in each of `ranks` children of one group."""
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            try:
                torch.distributed.init_process_group(
                    'gloo', init_method=f'file://{folder}/group', rank=rank, world_size=ranks
                )
                work(rank)
                torch.distributed.barrier()
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
                os._exit(1)
        children.append(child)
    return [os.waitpid(child, 0)[1] == 0 for child in children]


def killed_at_image(count, work):
    """Runs `work` in a child that kills itself when it encodes its image number `count`."""
    child = os.fork()
    if child == 0:
        encode, images = cv2.imencode, []

        def encode_or_die(*args):
            images.append(args[0])
            if len(images) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(*args)

        cv2.imencode = encode_or_die
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

"""Ranks that are forked from a test, which has imported everything already."""

import os
import sys

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

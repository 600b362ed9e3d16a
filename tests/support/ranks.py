"""Uneven shares of data, and the losses and metrics of them on one rank and on several.

`python -m tests.support.ranks FOLDER 2 4` runs groups of 2 and of 4 ranks without a GPU; each rank
writes its results to FOLDER/{ranks}_{rank}.pth. Its processes are forked, since importing
MMSegmentation takes longer than all that they do.
"""

import os
import sys
from pathlib import Path

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_reduce
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmseg.registry import DATASETS, METRICS, MODELS
from torch import nn

from mmseg_boundary.registered.model_losses import LossCalls
from tests.support.losses import LOSSES
from tests.support.scenes import segmentation
from tests.support.tiny import build_tiny

IMAGES = (2, 3, 2, 4)  # of each rank
VOID_RANK = 1
SIZE = (48, 48)
# (images, whether the sampler repeats some until all ranks have the same number); of 3 images that
# are not repeated, the last of four ranks gets none
EVALUATIONS = ((5, True), (5, False), (3, False))


class Training:
    """A small PSPNet whose heads have one loss of ours each."""

    def __init__(self):
        config, model = build_tiny()
        self.model = revert_sync_batchnorm(model)
        self.model.data_preprocessor.size = SIZE
        settings = config.train_dataloader.dataset
        settings.size = SIZE
        self.dataset = DATASETS.build(settings)

    def share(self, rank):
        """The batch of a rank; that of VOID_RANK has no labels but void."""
        first = sum(IMAGES[:rank])
        samples = [self.dataset[first + index] for index in range(IMAGES[rank])]
        if rank == VOID_RANK:
            for sample in samples:
                sample['data_samples'].gt_sem_seg.data.fill_(255)
        return {key: [sample[key] for sample in samples] for key in samples[0]}

    def step(self, name, rank, wrapper=None):
        """Value and gradients of one training step, before the optimizer's."""
        for head in (self.model.decode_head, self.model.auxiliary_head):
            head.loss_decode = nn.ModuleList([MODELS.build(dict(type=name))])
        self.model.zero_grad()
        batch = self.model.data_preprocessor(self.share(rank), training=True)
        total, _ = self.model.parse_losses((wrapper or self.model)(**batch, mode='loss'))
        total.backward()
        gradient = torch.cat([each.grad.flatten() for each in self.model.parameters()])
        return total.detach(), gradient

    def uncalled(self, rank, ranks, wrapper):
        """The losses that `LossCalls` finds uncalled on all ranks. All ranks call the first one,
        the last rank alone calls the second one, and none calls the third one."""
        names = [f'loss_{number}' for number in range(3)]
        head = self.model.decode_head
        head.loss_decode = nn.ModuleList(
            MODELS.build(dict(type='EPLLoss', loss_name=name)) for name in names
        )
        calls = LossCalls(wrapper)
        for loss in head.loss_decode[: 2 if rank == ranks - 1 else 1]:
            loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
        return [entry.key for entry in calls.missed() if entry.head == 'decode']


def evaluate(images, places):
    """BoundaryMetric's results if this rank gets the images at `places`."""
    metric = METRICS.build(dict(type='BoundaryMetric'))
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'nowhere'))
    for place in places:
        pred, label = segmentation((20 + place, 30), seed=place, wrong=0.1)
        metric.process(
            {},
            [
                dict(
                    pred_sem_seg=dict(data=pred[None]),
                    gt_sem_seg=dict(data=label[None]),
                    img_path=f'{place}.png',
                )
            ],
        )
    return metric.evaluate(images)


def be_a_rank(folder, rank, ranks):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/group_{ranks}', rank=rank, world_size=ranks
    )
    training = Training()
    wrapper = MMDistributedDataParallel(training.model, broadcast_buffers=False)
    found = dict(losses={}, metrics=[])
    for name in LOSSES:
        value, gradient = training.step(name, rank, wrapper)
        all_reduce(value, 'mean')
        found['losses'][name] = value, gradient
    found['uncalled'] = training.uncalled(rank, ranks, wrapper)
    for images, repeats in EVALUATIONS:
        places = DefaultSampler(range(images), shuffle=False, round_up=repeats)
        found['metrics'].append(evaluate(images, places))
    torch.save(found, folder / f'{ranks}_{rank}.pth')
    torch.distributed.barrier()


def main():
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for ranks in map(int, sys.argv[2:]):
        children = []
        for rank in range(ranks):
            child = os.fork()
            if child == 0:
                try:
                    be_a_rank(folder, rank, ranks)
                    sys.stderr.flush()
                    os._exit(0)  # see mmseg_boundary.cli.ranks
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    sys.stderr.flush()
                    os._exit(1)
            children.append(child)
        if any([os.waitpid(child, 0)[1] for child in children]):
            raise SystemExit(f'A rank of {ranks} failed, see above.')


if __name__ == '__main__':
    main()

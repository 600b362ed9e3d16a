"""The losses of a head encode their labels once, and never use those of another call."""

import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.geometry import distance
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import JaccardLoss, SoftDiceLoss, decode_head_loss
from mmseg_boundary.losses.decode_head_loss import SharedTarget, shared_target
from tests.support.heads import head, samples
from tests.support.skips import needs_gpu

LOSSES = [
    dict(type='KervadecBoundaryLoss'),
    dict(type='KervadecBoundaryLoss', normalize='max', loss_name='loss_kervadec_max'),
    dict(type='DistanceTransformLoss'),
    dict(type='DistanceTransformLoss', per_image=False, loss_name='loss_dt_pooled'),
]


@pytest.fixture
def calls(monkeypatch):
    """All masks whose distances are computed."""
    masks = []
    engine = distance.distance_to

    def counted(mask, *arguments):
        masks.append(mask)
        return engine(mask, *arguments)

    monkeypatch.setattr(distance, 'distance_to', counted)
    return masks


@pytest.fixture
def encoded(monkeypatch):
    """All labels that were encoded."""
    labels = []

    def counted(*arguments):
        labels.append(arguments[0])
        return encode(*arguments)

    monkeypatch.setattr(decode_head_loss, 'encode', counted)
    return labels


def test_once_per_head_and_iteration(calls):
    decode_head = head(LOSSES)
    for iteration in range(1, 4):
        labels = torch.randint(3, (2, 16, 20))
        losses = decode_head.loss([torch.randn(2, 4, 4, 5)], samples(labels), train_cfg={})
        assert len(calls) == iteration
        sum(losses[each] for each in losses if each.startswith('loss_')).backward()


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_three_losses_of_a_head_encode_once(dtype, encoded):
    """Under autocast too, where each of them makes float32 logits of its own; with a sampler."""
    names = ('EPLPointLoss', 'KervadecBoundaryLoss', 'BoundaryWeightedCELoss')
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10)
    decode_head = head([dict(type=name) for name in names], sampler=sampler).to(dtype)
    for iteration in range(1, 4):
        labels = torch.randint(3, (2, 16, 20))
        features = [torch.randn(2, 4, 4, 5).to(dtype)]
        decode_head.loss(features, samples(labels), train_cfg={})
        assert len(encoded) == iteration


def test_changed_labels_are_encoded_anew(calls):
    loss = MODELS.build(dict(type='KervadecBoundaryLoss'))
    logits, labels = torch.randn(1, 3, 8, 8), torch.randint(3, (1, 8, 8))
    loss(logits, labels)
    before = loss(logits, labels)
    assert len(calls) == 1
    labels[:, :4] = 255
    after = loss(logits, labels)
    assert len(calls) == 2 and after != before


def refilled_in_another_process(labels, others):
    child = os.fork()
    if not child:
        labels.copy_(others)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize('kind', ['data', 'from_numpy', 'shared memory'])
def test_what_torch_does_not_count_is_seen_in_the_next_forward(kind):
    """A loader may keep one tensor of labels and refill it."""
    first, second = torch.randint(3, (2, 1, 8, 8))
    array = first.clone().numpy()
    labels = first.clone().share_memory_() if kind == 'shared memory' else torch.from_numpy(array)
    loss, logits = SoftDiceLoss(), torch.randn(1, 3, 8, 8)
    assert loss(logits.clone(), labels) == loss(logits.clone(), first)
    kept = logits.clone()
    loss(kept, labels)
    version = labels._version
    if kind == 'data':
        labels.data.copy_(second)
    elif kind == 'from_numpy':
        np.copyto(array, second.numpy())
    else:
        refilled_in_another_process(labels, second)
    assert labels.equal(second) and labels._version == version
    assert loss(logits.clone(), labels) == loss(logits.clone(), second) != loss(kept, first)


def test_classes_and_void_are_part_of_the_key():
    shared = SharedTarget()
    labels, logits = torch.randint(2, (1, 4, 4)), torch.zeros(1, 2, 4, 4)
    first = shared(labels, logits, 255)
    assert shared(labels, logits, 255) is first
    logits.data = torch.zeros(1, 3, 4, 4)
    assert shared(labels, logits, 255).masks.shape[1] == 3
    assert not shared(labels, logits, 1).valid.all()
    assert shared(labels.clone(), logits, 1) is not shared(labels, logits, 1)
    assert shared(labels, logits.clone(), 1) is not shared(labels, logits, 1)


@pytest.mark.parametrize('which', ['labels', 'logits'])
def test_cached_maps_die_with_their_labels_and_with_their_logits(which):
    call = dict(labels=torch.randint(2, (1, 4, 4)), logits=torch.zeros(1, 2, 4, 4))
    shared_target(**call, ignore_index=255).cached(distance.distances_between, 'euclidean')
    assert shared_target._entry is not None
    other = dict(call, **{which: call[which].clone()})
    del call[which]
    gc.collect()
    assert shared_target._entry is None
    shared_target(**other, ignore_index=255)
    assert shared_target._entry is not None


def test_what_came_before_takes_nothing_along_when_it_dies():
    shared = SharedTarget()
    logits, labels, before = torch.zeros(1, 2, 4, 4), *torch.randint(2, (2, 1, 4, 4))
    shared(before, logits, 255)
    latest = shared(labels, logits, 255)
    del before
    assert shared(labels, logits, 255) is latest


def test_the_graph_of_the_logits_is_not_kept():
    leaf = torch.zeros(1, 2, 4, 4, requires_grad=True)
    gone = []

    class Noted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.note = Note()
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Note:
        def __del__(self):
            gone.append(True)

    labels = torch.randint(2, (1, 4, 4))
    SoftDiceLoss()(Noted.apply(leaf), labels).backward()
    gc.collect()
    assert gone


def test_inference_tensors_are_not_remembered():
    shared = SharedTarget()
    with torch.inference_mode():
        labels, logits = torch.randint(2, (1, 4, 4)), torch.zeros(1, 2, 4, 4)
        assert shared(labels, logits, 255) is not shared(labels, logits, 255)


def another_thread_at_every_line(frame, event, argument):
    """A trace that lets the others run wherever they may, within the code of the shared target."""
    time.sleep(0)
    return another_thread_at_every_line


def test_threads_get_the_target_of_their_own_labels():
    """As `nn.DataParallel` calls one loss: 8 threads, 200 calls each."""
    shared = SharedTarget()

    def foreign(number):
        wrong = 0
        for call in range(200):
            label = (number + call) % 8
            labels, logits = torch.full((1, 2, 2), label), torch.zeros(1, 8, 2, 2)
            for _ in range(3):
                wrong += not shared(labels, logits, 255).masks[0, label].all().item()
        return wrong

    code = SharedTarget.__call__.__code__
    traced = threading.gettrace()
    threading.settrace(
        lambda frame, *_: another_thread_at_every_line if frame.f_code is code else None
    )
    try:
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(foreign, range(8))) == 0
    finally:
        threading.settrace(traced)


def test_a_compiled_head_reads_the_labels_of_each_step(encoded):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))
            self.losses = torch.nn.ModuleList([SoftDiceLoss(), JaccardLoss()])

        def forward(self, features, labels):
            logits = self.scale * features
            return sum(loss(logits, labels) for loss in self.losses)

    net = Net()
    compiled = torch.compile(net, backend='eager')
    labels = torch.randint(3, (1, 8, 8))
    for step in range(6):
        features = torch.randn(1, 3, 8, 8)
        labels = torch.randint(3, (1, 8, 8)) if step % 3 == 0 else labels
        if step % 3 == 1:
            labels.data.copy_(torch.randint(3, (1, 8, 8)))
        values = compiled(features, labels), net(features, labels)
        assert values[0].item() == pytest.approx(values[1].item())
        assert len(encoded) == 2 * (step + 1)


@needs_gpu
@pytest.mark.parametrize('logits_are', ['made in each forward', 'the same tensor'])
def test_a_captured_graph_reads_the_labels_of_each_replay(logits_are):
    losses = SoftDiceLoss(), JaccardLoss()
    source = torch.randn(2, 3, 16, 16, device='cuda')
    labels = torch.randint(3, (2, 16, 16), device='cuda')

    def forward():
        logits = source if logits_are == 'the same tensor' else 1 * source
        return torch.stack([loss(logits, labels) for loss in losses])

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = forward()
    # What was captured has not been computed yet.
    expected = torch.stack([loss(source.clone(), labels.clone()) for loss in losses])
    torch.testing.assert_close(forward(), expected)
    for _ in range(3):
        labels.copy_(torch.randint(3, (2, 16, 16)))
        graph.replay()
        expected = torch.stack([loss(source.clone(), labels.clone()) for loss in losses])
        torch.testing.assert_close(captured, expected)

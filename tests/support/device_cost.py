"""What a loss costs a GPU, counted where there is none: launches, bytes moved and peak memory.

Everything runs on meta tensors, which have shapes and no values: code that reads a value back
fails by itself. `mmseg_boundary.devices.is_queued` sends them where CUDA tensors go.

These are estimates. An eager operator is one launch that reads its inputs and writes its outputs,
once each; views and memory that is not written cost nothing. What `torch.compile` is given costs
the kernels that Inductor plans for the CPU at these very sizes, with what each reads and writes,
and each operator that Inductor falls back to; nothing is compiled. It plans by a GPU's rules of
what is written to be used twice and of which loops are merged when, and without the CPU's limit of
16 kernels in a loop. The peak counts all that is allocated while the counter is on, so not what was
there before.
"""

import contextlib
import functools
import math
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch._inductor import config, ir
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.ir import MultiOutput
from torch._inductor.scheduler import NopKernelSchedulerNode
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode,
)
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import mmseg_boundary
from mmseg_boundary import compiled
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import blocks
from mmseg_boundary.losses.decode_head_loss import DecodeHeadLoss

PACKAGE = str(Path(mmseg_boundary.__file__).parent)
# Their outputs are memory that nothing has written yet.
UNWRITTEN = ('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided')
# They do not read what they write to.
OVERWRITING = ('copy_', 'fill_', 'zero_')
# They take the type and the size of a tensor alone.
LIKE = ('full_like', 'new_full', 'new_ones', 'new_zeros', 'ones_like', 'zeros_like')


class DeviceCost(TorchDispatchMode):
    """Counts while it is entered, what autograd does in a backward pass too.

    launches, moved_bytes, peak_bytes: the totals.
    launches_at, bytes_at: by the function of the package that called, 'autograd' where none did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.moved_bytes = self.live_bytes = self.peak_bytes = 0
        self.launches_at: Counter[str] = Counter()
        self.bytes_at: Counter[str] = Counter()
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        rest = {key: value for key, value in kwargs.items() if key != 'out'}
        reads = [each for each in tree_leaves((args, rest)) if is_on_device(each)]
        outputs = [each for each in tree_leaves(result) if is_on_device(each)]
        known = {storage_of(each) for each in tree_leaves((args, kwargs)) if is_on_device(each)}
        for each in outputs:
            if storage_of(each) not in known:
                self._allocate(each)
        is_view = bool(outputs) and all(storage_of(each) in known for each in outputs)
        is_view = is_view and not func._schema.is_mutable
        if (reads or outputs) and not is_view and name not in UNWRITTEN:
            if name in OVERWRITING + LIKE:
                reads = [each for each in reads if each is not args[0]]
            self._launch(1, sum(map(bytes_of, reads + outputs)))
        return result

    def run_compiled(self, kernel, args):
        """What `torch.compile(kernel)(*args)` returns and costs."""
        leaves, form = tree_flatten(args)
        specs = tuple(spec_of(each) if isinstance(each, Tensor) else each for each in leaves)
        plan = plan_of(kernel, specs, form)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes + plan.peak_bytes)
        self._launch(plan.launches, plan.moved_bytes, kernel.__name__)
        made = [
            torch.empty_strided(each.size, each.stride, dtype=each.dtype, device='meta')
            for each in plan.made
        ]
        return tree_unflatten(made, plan.form)

    def _launch(self, launches: int, moved: int, name: str | None = None) -> None:
        self.launches += launches
        self.moved_bytes += moved
        place = name or calling_function()
        self.launches_at[place] += launches
        self.bytes_at[place] += moved

    def _allocate(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), storage_of(tensor)
        if key in self._alive:  # of two outputs
            return
        self._alive.add(key)
        self.live_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.live_bytes -= size


def cost_of(loss: Callable[[Tensor, Tensor], Tensor], shape: Sequence[int], compiles=True):
    """The `DeviceCost` of a loss of logits and labels, forwards and backwards.

    Args:
        shape: (N, K, H, W), of the logits.
        compiles: whether there is a compiler.
    """
    logits = torch.empty(shape, device='meta', requires_grad=True)
    labels = torch.empty(shape[0], *shape[2:], dtype=torch.uint8, device='meta')
    with compiler(compiles), DeviceCost() as cost:
        loss(logits, labels).backward()
    return cost


def from_logits(loss: DecodeHeadLoss) -> Callable[[Tensor, Tensor], Tensor]:
    """What a loss computes as a module, but for its checks and autocast, which meta has not."""

    targets = []

    def value(logits: Tensor, labels: Tensor) -> Tensor:
        given = logits if loss.takes_logits else logits.softmax(1)
        target = encode(labels, logits.shape[1])
        targets.append(target)  # which a training keeps for as long as the logits
        return loss.term(given, target, None)

    return value


@contextlib.contextmanager
def compiler(works: bool):
    """Kernels are compiled for meta tensors of all sizes, or none is."""
    patches = [
        mock.patch.object(compiled, '_can_compile', lambda device_type: works),
        mock.patch.object(compiled, 'LARGE', 0),
        # It compiles by running once, which would count.
        mock.patch.object(blocks, '_compile', lambda *form: None),
        mock.patch.object(torch, 'compile', counted),
        mock.patch.object(compiled, '_warn', refuse),
    ]
    with contextlib.ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


def refuse(sentence):
    """Of a kernel that cannot be compiled: what runs in its place is not what is to be counted."""
    raise AssertionError(sentence)


def counted(kernel, **options):
    """In the place of `torch.compile`."""

    def call(*args):
        return _get_current_dispatch_mode().run_compiled(kernel, args)

    return call


class Plan(NamedTuple):
    """launches, moved_bytes, peak_bytes (its outputs and what lives between its kernels); made: the
    specs of its outputs, which `form` puts together."""

    launches: int
    moved_bytes: int
    peak_bytes: int
    made: list
    form: Any


@functools.cache
def plan_of(kernel, specs, form) -> Plan:
    """What Inductor makes of a kernel for tensors of these sizes and other arguments."""
    found = {}

    def flat(*tensors):
        rest = iter(tensors)
        leaves = [next(rest) if isinstance(each, Spec) else each for each in specs]
        made, found['form'] = tree_flatten(kernel(*tree_unflatten(leaves, form)))
        return made

    with _disable_current_modes(), FakeTensorMode() as mode, torch.no_grad():
        inputs = [
            torch.empty_strided(each.size, each.stride, dtype=each.dtype)
            for each in specs
            if isinstance(each, Spec)
        ]
        traced = make_fx(
            torch.func.functionalize(flat, remove='mutations'),
            decomposition_table=select_decomp_table(),
        )(*inputs)
        made = [spec_of(node.meta['val']) for node in traced.graph.output_node().args[0]]
        graph = GraphLowering(traced, example_inputs=inputs, is_inference=True)
        limits = {'cpp.max_horizontal_fusion_size': config.max_fusion_size}
        with (
            DebugContext(),
            config.patch(limits),
            mock.patch.object(ir, 'is_cpu', lambda node: False),
            mock.patch.object(ir, 'is_gpu', lambda device_type: True),
            V.set_graph_handler(graph),
            V.set_fake_mode(mode),
        ):
            graph.run(*inputs)
            graph.init_wrapper_code()
            graph._update_scheduler()
            return Plan(*costs_of_nodes(graph), made, found['form'])


def costs_of_nodes(graph) -> tuple[int, int, int]:
    """Launches, bytes moved, and the peak of what the kernels of a graph allocate."""
    nodes = [
        each
        for each in graph.scheduler.nodes
        # nothing runs for a part of what a kernel has written
        if not isinstance(each, NopKernelSchedulerNode) and not isinstance(each.node, MultiOutput)
    ]
    kept = set(graph.get_output_names())
    last = {read.name: place for place, node in enumerate(nodes) for read in node.read_writes.reads}
    sizes, peak = {}, 0
    for place, node in enumerate(nodes):
        sizes |= node.get_read_write_buffer_accesses(include_reads=False, include_writes=True)
        peak = max(peak, sum(sizes.values()))
        sizes = {
            name: size for name, size in sizes.items() if name in kept or last.get(name, 0) > place
        }
    return len(nodes), sum(node.get_read_write_buffers_sizes() for node in nodes), peak


class Spec(NamedTuple):
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def spec_of(tensor: Tensor) -> Spec:
    return Spec(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def is_on_device(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_meta


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def bytes_of(tensor: Tensor) -> int:
    """Of the elements that lie apart in memory: an expanded tensor is read once."""
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(side for side, stride in sides if stride) * tensor.element_size()


def calling_function() -> str:
    """The innermost function of the package, by name."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return frame.f_code.co_name
        frame = frame.f_back
    return 'autograd'

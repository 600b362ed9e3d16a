"""Which branch a tensor takes: that of the host, whose code may look at values, or of a device."""

from torch import Tensor


def is_queued(tensor: Tensor) -> bool:
    """Whether work on the tensor is queued on a device, where to read a value would be to wait.

    True for meta tensors, which have no values: the work of a device is counted with them.
    """
    return tensor.is_cuda or tensor.is_meta

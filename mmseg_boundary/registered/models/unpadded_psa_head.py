"""PSANet's head without the padding that MMSegmentation's has."""

import torch
from mmseg.models import PSAHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...compat import psa_masks_from


@MODELS.register_module()
class UnpaddedPSAHead(PSAHead):
    """MMSegmentation's `PSAHead` (Zhao et al., ECCV 2018) without the padding of its `proj`.

    There a 1x1 convolution is padded by 1: the attention's result gets a border of constants, and
    is squeezed as it is resized. The authors' network (semseg) has no such padding. Parameters and
    key names are the parent's, but the weights of MMSegmentation's checkpoints have learned with
    the padding. Where mmcv is without its compiled operators, this head is built all the same:
    `PSAMask` of this module takes the operator's place.

    Args:
        options: the parent's. Of `mask_size`, 2 s - 1 covers a feature map of s x s where
            `shrink_factor` is 1; with that of 2, s is half of its size, rounded up. Positions that
            the mask does not cover have logits of 0.
    """

    def __init__(self, **options) -> None:
        with psa_masks_from(PSAMask):
            super().__init__(**options)
        self.proj.conv.padding = (0, 0)


class PSAMask(nn.Module):
    """mmcv's operator of this name, by `torch.gather`.

    Args:
        psa_type: 'collect', where each position has its own attention to all, or 'distribute',
            where each has what all pay to it.
        mask_size: of the attention that is given per position, centred on it: (height, width).
    """

    def __init__(self, psa_type: str, mask_size: tuple[int, int]):
        super().__init__()
        self.psa_type = psa_type
        self.mask_size = mask_size

    def forward(self, x: Tensor) -> Tensor:
        """
        Args:
            x: (N, mask height x mask width, H, W).

        Returns:
            (N, H W, H, W): for 'collect', what the last two axes pay to each place of the second
                axis, and for 'distribute' the reverse; 0 where the mask does not reach.
        """
        shape = x.shape[2:]
        position = torch.zeros(shape.numel(), shape.numel(), device=x.device, dtype=torch.long)
        covered = position == 0
        for axis, (size, mask) in enumerate(zip(shape, self.mask_size, strict=True)):
            places = torch.arange(size, device=x.device)
            places = places[:, None].expand(shape) if axis == 0 else places.expand(shape)
            places = places.flatten()
            # the place of what is attended to, in the mask around each position
            offset = places[:, None] - places + (mask - 1) // 2
            covered &= (offset >= 0) & (offset < mask)
            position = position * mask + offset
        position = position.where(covered, 0).expand(len(x), -1, -1)
        attention = x.flatten(2).gather(1, position).masked_fill(~covered, 0)
        if self.psa_type == 'distribute':
            attention = attention.mT
        return attention.unflatten(2, shape)

"""An image of 4 x 6 pixels, small enough to work the losses out by hand, with three classes, one
void pixel, and an object that is predicted a pixel off; and its class 1 for one logit."""

import torch

LABELS = torch.tensor(
    [[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 2, 2, 1, 1], [0, 0, 2, 2, 1, 255]]]
)
BINARY_LABELS = LABELS.where(LABELS == 255, (LABELS == 1).long())
PRED = torch.tensor(
    [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 2, 2, 2, 1], [0, 0, 2, 2, 1, 1]]
)
_K, _I, _J = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(6), indexing='ij')
# ((7 k + 3 i + 5 j) mod 11) / 4, raised by 2.1 where class k is predicted
LOGITS = (((7 * _K + 3 * _I + 5 * _J) % 11) / 4 + 2.1 * (PRED == _K)).double()[None]
BINARY_LOGITS = (((3 * _I[:1] + 5 * _J[:1]) % 11) / 2 - 2.4).double()[None]
BINARY_LOGITS += torch.where(PRED == 1, 2.0, -2.0)

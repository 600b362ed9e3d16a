"""Equipotential Learning (Yin et al., "Contour-Aware Equipotential Learning for Semantic
Segmentation", IEEE TMM 2022; code: github.com/XuYin94/Contour-aware-equipotential-learning, MIT).

Sums along rays (`rays`) turn the target and the prediction of every class into potential fields.
The point loss compares the fields pixel by pixel, the line loss the course of their equipotential
lines. Symbols: E and Ê the energies of target and prediction, s a direction, h the half width of
the kernel, so that the lines have the energies tau = 1..h.

`reference` has the equations as plain torch, to be read beside the paper. What trains is `point`
and `line`: the same values, gradients and regions in a fraction of the time and memory (`blocks`
says how; `ranks` takes the place of a sort).

On CUDA nothing is read back to the host. Both losses train: gradients flow to `probs`, once;
second derivatives are refused.
`torch.compile` of a model around them leaves them out: large batches compile kernels of their own.
"""

from .line import epl_line_loss
from .modules import EPLLineLoss, EPLLoss, EPLPointLoss
from .point import epl_point_loss

__all__ = ['EPLLineLoss', 'EPLLoss', 'EPLPointLoss', 'epl_line_loss', 'epl_point_loss']

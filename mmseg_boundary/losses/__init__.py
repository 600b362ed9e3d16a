"""Pure losses on (probabilities, `labels.Target`): torch alone, one file per paper."""

from .epl import epl_line_loss, epl_point_loss

__all__ = ['epl_line_loss', 'epl_point_loss']

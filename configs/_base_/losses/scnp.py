# The cross-entropy of the worst neighbors (SCNP), in place of a plain one, as published.
_base_ = './ce.py'
losses = [dict(type='NeighbourPenalised', loss=_base_.losses[0])]

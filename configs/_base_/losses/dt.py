# The thesis' distance-transform loss, alone on the main head as in the thesis; the auxiliary head
# keeps its cross-entropy.
_base_ = '../runtime.py'
losses = [dict(type='DistanceTransformLoss')]

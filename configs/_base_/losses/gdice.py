# Generalized Dice beside the cross-entropy: without a boundary term, and rare classes as heavy as
# frequent ones. Its share of the cross-entropy's gradient at the parameters, by
# tools/loss_balance.py: 0.5 % as training begins and 5 % after 200 iterations on CamVid, 2 % as it
# begins on the shapes.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='GeneralizedDiceLoss')]

# Active boundary loss beside a cross-entropy and MMSegmentation's Lovász loss, as its authors train
# it. Their weight is not known to us. With 1 its gradient at the parameters is 0.2 % of the
# cross-entropy's as training begins, and 15 % after 200 iterations on CamVid (loss_balance.py).
_base_ = './ce.py'
losses = [
    *_base_.losses,
    dict(type='LovaszLoss', reduction='none'),
    dict(type='ActiveBoundaryLoss'),
]

# EPL for nets trained from scratch on small images: mu 2 has a gradient everywhere, and weight 1
# gives the line term a share of the gradient that is felt (with 0.2 and mu 10 it is negligible).
_base_ = './ce.py'
losses = [
    *_base_.losses,
    dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=0.1, line_weight=1.0),
]

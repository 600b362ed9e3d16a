# EPL for nets trained from scratch on small images: with mu 2 it has a gradient everywhere, and
# with weight 1 the line term has a noticeable share of it (with 0.2 and mu 10 it is negligible).
_base_ = './ce.py'
losses = [
    *_base_.losses,
    dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=0.1, line_weight=1.0),
]

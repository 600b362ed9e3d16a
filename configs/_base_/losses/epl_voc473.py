# EPL at a crop of 465 or 473, 1.8 times the ablation's 256x256: kernel 7 -> 13. The weights shrink
# as in `epl_voc.py`. The paper gives neither for its Table VIII.
_base_ = './ce.py'
losses = [
    *_base_.losses,
    dict(type='EPLLoss', kernel_size=13, mu=10, point_weight=0.033, line_weight=0.1),
]

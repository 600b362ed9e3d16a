# Networks with and without EPL, each by the protocol of the implementation that EPL's paper
# adopted. A table's file names them: each is a part.
study = dict(
    published_scores=dict(mIoU='mIoU'),
    tta=True,
    seeds=[0],
    endpoints=['mIoU', 'mBoundaryF_3px'],
    splits=dict(val=dict()),
    seconds=dict(iteration=8.0, evaluation=7200),
    budget=500,
)

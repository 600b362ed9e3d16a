# The smallest study: does any loss sharpen the boundaries of drawn shapes? Three seeds cannot show
# much; it shows that everything works, and how a study is written.
ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
study = dict(
    question='Which loss meets the boundaries of drawn shapes best after 400 iterations?',
    base='configs/pspnet_ce_shapes.py',
    iterations=400,
    arms=dict(
        ce=dict(title='CE', losses=[ce]),
        bwce=dict(title='boundary-weighted CE', losses=[dict(type='BoundaryWeightedCELoss')]),
        dice=dict(title='CE + Dice', losses=[ce, dict(type='SoftDiceLoss')]),
        epl=dict(title='CE + EPL as published', losses=[ce, dict(type='EPLLoss')], cost=2),
        epl_mu2=dict(
            title='CE + EPL, mu 2',
            losses=[
                ce,
                dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=0.1, line_weight=1.0),
            ],
            cost=2,
        ),
        kervadec=dict(
            title='CE + Kervadec', losses=[ce, dict(type='KervadecBoundaryLoss', loss_weight=0.2)]
        ),
        dt=dict(title='DT', losses=[dict(type='DistanceTransformLoss')]),
        bf1=dict(title='CE + BF1', losses=[ce, dict(type='BF1Loss', loss_weight=2)]),
    ),
    base_arm='ce',
    baselines=['ce', 'bwce', 'dice'],
    seeds=[0, 1, 2],
    splits=dict(val=dict()),
    endpoints=['mBoundaryF_3px'],
    margins=dict(mIoU=0.5),
    seconds=dict(iteration=0.12, evaluation=20),
    budget=2,
)

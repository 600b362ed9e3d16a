# Why does BF1 cost IoU where there is one class and one logit? With the usual start of the last
# layer, one seed; with it the cross-entropy's net predicts no nucleus at all. nuclei_bf1_initial.py
# says why, and goes on with another start.
ce = dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
bwce = dict(type='BoundaryWeightedCELoss', use_sigmoid=True)
dice = dict(type='SoftDiceLoss', use_sigmoid=True)
bf1 = dict(type='BF1Loss', use_sigmoid=True, loss_weight=2)

study = dict(
    question='What does BF1 change on nuclei, one class with one logit?',
    base='configs/unet/unet-s5-d16_ce_nuclei.py',
    options={'model.decode_head.init_cfg.std': 0.01},
    arms=dict(
        ce=dict(title='CE', losses=[ce]),
        bf1=dict(title='CE + BF1', losses=[ce, bf1], start=0.5),
        bwce_dice=dict(title='boundary-weighted CE + Dice', losses=[bwce, dice], start=0.5),
    ),
    base_arm='ce',
    baselines=['ce', 'bwce_dice'],
    seeds=[0],
    splits=dict(val=dict()),
    endpoints=[
        'mBoundaryF_3px',
        dict(key='mIoU', title='IoU of nuclei', classes=['nucleus']),
    ],
    margins=dict(mIoU=0.5),
    seconds=dict(iteration=0.45, evaluation=60),
    budget=2,
)

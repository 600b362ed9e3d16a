# The same as nuclei_bf1_initial.py with two logits, so that BF1 sees the boundary of the background
# as well: an outline is no longer as good as the object that it surrounds.
ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)

study = dict(
    question='What does BF1 change on nuclei with two logits?',
    base='configs/unet/unet-s5-d16_ce_nuclei.py',
    options={
        'model.decode_head.out_channels': 2,
        'model.decode_head.threshold': None,
    },
    arms=dict(
        ce=dict(title='CE', losses=[ce]),
        bf1=dict(title='CE + BF1', losses=[ce, dict(type='BF1Loss', loss_weight=2)], start=0.5),
    ),
    base_arm='ce',
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

# Why does BF1 cost IoU where there is one class and one logit, once the net can learn? The arms
# leave the cross-entropy's training at half and tell explanations apart: the share of the
# cross-entropy in a step (weight 0.5), the tolerance, within which the term holds contours where
# they are (none, theta 1), and images of short contours, which count as much as others (pooled).
# nuclei_bf1_two_logits.py is about the other side of contours.
#
# In nuclei_bf1.py the head's last layer begins near 0, and its inputs are not negative: the first
# steps make all of its weights negative, since most pixels are background. Then no logit exceeds
# the bias, and nuclei appear only when that has risen above 0. With the config's larger weights
# there are inputs of both signs.
ce = dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
bwce = dict(type='BoundaryWeightedCELoss', use_sigmoid=True)
dice = dict(type='SoftDiceLoss', use_sigmoid=True)


def bf1(loss_weight=2, **options):
    return dict(type='BF1Loss', use_sigmoid=True, loss_weight=loss_weight, **options)


study = dict(
    question='What does BF1 change on nuclei, one class with one logit, and by what?',
    base='configs/unet/unet-s5-d16_ce_nuclei.py',
    arms=dict(
        ce=dict(title='CE', losses=[ce]),
        bf1=dict(title='CE + BF1', losses=[ce, bf1()], start=0.5),
        bf1_exact=dict(title='CE + BF1, theta 1', losses=[ce, bf1(theta=1)], start=0.5),
        bf1_low=dict(title='CE + BF1 at 0.5', losses=[ce, bf1(0.5)], start=0.5),
        bwce_dice=dict(title='boundary-weighted CE + Dice', losses=[bwce, dice], start=0.5),
        bf1_pooled=dict(title='CE + pooled BF1', losses=[ce, bf1(per_image=False)], start=0.5),
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

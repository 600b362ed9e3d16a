# The six losses of Gül's thesis on its two data sets, by its protocol (configs/_base_/schedules/
# thesis.py): one seed, after every epoch an evaluation. A table's file names the network. Trained
# on Cityscapes with softmax over 19 classes, and on faces with one logit.
ce = dict(type='CrossEntropyLoss', avg_non_ignore=True)


def arms(**logits):
    losses = dict(
        ce=('CE', [ce]),
        iou=('IoU', [dict(type='JaccardLoss')]),
        dice=('Dice', [dict(type='SoftDiceLoss')]),
        combo=('Combo', [dict(type='SoftDiceLoss'), ce]),
        dicefocal=('DiceFocal', [dict(type='SoftDiceLoss'), dict(type='SoftmaxFocalLoss')]),
        dt=('Ours', [dict(type='DistanceTransformLoss')]),
    )
    return {
        name: dict(
            title='DT' if row == 'Ours' else row,
            losses=[dict(loss, **logits) for loss in terms],
            published=dict(loss=row),
        )
        for name, (row, terms) in losses.items()
    }


study = dict(
    question='Does the distance-transform loss exceed the five others in boundary IoU?',
    base_arm='ce',
    baselines=['ce', 'iou', 'dice', 'combo', 'dicefocal'],
    seeds=[42],
    endpoints=['mBoundaryIoU', 'mIoU'],
    splits=dict(val=dict()),
    options={'test_evaluator.iou_metrics': ['mIoU', 'mDice']},
    seconds=dict(iteration=1.0, evaluation=120),
    parts=dict(
        city=dict(
            data='Cityscapes',
            arms=arms(use_sigmoid=False),
            published_scores=dict(mBoundaryIoU='cs_bIoU', mIoU='cs_IoU', mDice='cs_Dice'),
            validation=dict(key='mBoundaryIoU', points=60, reach=47),
            budget=20,
        ),
        celeba=dict(
            data='CelebAMask-HQ',
            splits=dict(val=dict(dataset=dict(ann_file='val.txt')), test=dict()),
            arms=arms(use_sigmoid=True),
            published_scores=dict(
                mBoundaryIoU='celeba_bIoU', mIoU='celeba_IoU', mDice='celeba_Dice'
            ),
            validation=dict(key='mBoundaryIoU', points=60, reach=72),
            budget=100,
        ),
    ),
)

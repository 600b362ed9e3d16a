# The ablations of EPL's paper (Yin et al. 2022): a PSPNet on ResNet-50, VOC at 256x256 and
# Cityscapes at 256x512, one seed, evaluated at several scales and flipped. A table's file adds its
# arms.
ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
point = dict(type='EPLPointLoss', loss_weight=0.1)
line = dict(type='EPLLineLoss', loss_weight=0.01)
baseline = dict(method='baseline')

study = dict(
    question='Does this part of the equipotential loss raise mIoU?',
    published_scores=dict(mIoU='mIoU'),
    tta=True,
    seeds=[0],
    endpoints=['mIoU', 'mBoundaryF_3px'],
    splits=dict(val=dict()),
    seconds=dict(iteration=4.0, evaluation=3600),
    parts=dict(
        voc=dict(
            data='VOC',
            base='configs/pspnet/pspnet-r50_ce_voc256.py',
            arms=dict(
                baseline=dict(title='CE', losses=[ce], published=dict(baseline, dataset='VOC'))
            ),
            budget=2000,
        ),
        city=dict(
            data='Cityscapes',
            base='configs/pspnet/pspnet-r50_ce_city256.py',
            arms=dict(
                baseline=dict(
                    title='CE', losses=[ce], published=dict(baseline, dataset='Cityscapes')
                )
            ),
            budget=2000,
        ),
    ),
)

# Figure 7 of EPL's paper: F and trimap IoU over the width, with and without a term of EPL. The
# figure has no numbers, and its text neither weights nor networks: these are the best of Table VII.
_base_ = './_base_/epl_ablation.py'


def arms(kernel_size, point, line):
    shared = dict(kernel_size=kernel_size)
    return dict(
        baseline=dict(published=dict(_delete_=True)),
        point=dict(
            title='w/P.', losses=[_base_.ce, dict(_base_.point, loss_weight=point, **shared)]
        ),
        line=dict(title='w/L.', losses=[_base_.ce, dict(_base_.line, loss_weight=line, **shared)]),
    )


evaluator = dict(
    widths=(1, 2, 3, 5, 7, 9, 12, 15, 20), trimap_mode='deeplab', void_is_boundary=False
)
study = dict(
    question='At which widths does a term of the equipotential loss raise F and trimap IoU?',
    published_scores=dict(_delete_=True),
    endpoints=['mTrimapIoU_3px', 'mBoundaryF_3px'],
    options={f'test_evaluator.{key}': value for key, value in evaluator.items()},
    parts=dict(
        voc=dict(arms=arms(7, point=0.1, line=0.2)),
        city=dict(arms=arms(11, point=0.2, line=0.5)),
    ),
)

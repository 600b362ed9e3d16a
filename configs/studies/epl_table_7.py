# Table VII of EPL's paper: four losses at the best weights of its Tables XIV and XV.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernel_size, boundary, point, dice, line):
    shared = dict(kernel_size=kernel_size)
    losses = {
        'boundary[17]': dict(type='KervadecBoundaryLoss', loss_weight=boundary),
        'point': dict(_base_.point, loss_weight=point, **shared),
        'dice[30]': dict(type='SoftDiceLoss', per_class=False, loss_weight=dice),
        'line': dict(_base_.line, loss_weight=line, **shared),
    }
    return {
        method.split('[')[0]: dict(
            title=method.split('[')[0],
            losses=[_base_.ce, loss],
            published=dict(dataset=dataset, method=method),
        )
        for method, loss in losses.items()
    }


study = dict(
    published='epl_results: VII',
    parts=dict(
        voc=dict(arms=arms('VOC', 7, boundary=0.1, point=0.1, dice=0.2, line=0.2)),
        city=dict(arms=arms('Cityscapes', 11, boundary=0.05, point=0.2, dice=0.5, line=0.5)),
    ),
)

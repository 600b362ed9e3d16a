# Table XIV of EPL's paper: the weights of the boundary loss and of the point term.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernel_size):
    losses = dict(
        boundary=(dict(type='KervadecBoundaryLoss'), 'boundary[17]', 'lambda_other'),
        point=(dict(_base_.point, kernel_size=kernel_size), 'point', 'lambda_point'),
    )
    return {
        f'{name}_{round(100 * weight)}': dict(
            title=f'{name}, {weight}',
            losses=[_base_.ce, dict(loss, loss_weight=weight)],
            published=dict(dataset=dataset, method=method, **{column: weight}),
        )
        for name, (loss, method, column) in losses.items()
        for weight in (0.05, 0.1, 0.2, 0.25, 0.5)
    }


study = dict(
    published='epl_results: XIV',
    parts=dict(voc=dict(arms=arms('VOC', 7)), city=dict(arms=arms('Cityscapes', 11))),
)

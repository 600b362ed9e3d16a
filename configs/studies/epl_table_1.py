# Table I of EPL's paper: the norm of the point term and its kernel.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernels):
    return {
        f'{norm}_{size}': dict(
            title=f'point, {norm.upper()}, {size}',
            losses=[_base_.ce, dict(_base_.point, norm=norm, kernel_size=size)],
            published=dict(dataset=dataset, method='point', norm=norm.upper(), kernel=size),
        )
        for norm in ('l1', 'l2')
        for size in kernels
    }


study = dict(
    published='epl_results: I',
    parts=dict(
        voc=dict(arms=arms('VOC', (7, 9, 11))), city=dict(arms=arms('Cityscapes', (9, 11, 13)))
    ),
)

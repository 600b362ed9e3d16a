# Table II of EPL's paper: the kernel of the line term.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernels):
    return {
        f'line_{size}': dict(
            title=f'line, {size}',
            losses=[_base_.ce, dict(_base_.line, kernel_size=size)],
            published=dict(dataset=dataset, method='line', kernel=size),
        )
        for size in kernels
    }


study = dict(
    published='epl_results: II',
    parts=dict(
        voc=dict(arms=arms('VOC', (7, 9, 11))), city=dict(arms=arms('Cityscapes', (9, 11, 13)))
    ),
)

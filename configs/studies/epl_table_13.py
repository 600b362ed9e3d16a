# Table XIII of EPL's paper: the directions of the line term and its kernel.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernels):
    return {
        f'{splitter.lower()}_{size}': dict(
            title=f'line, {splitter}, {size}',
            losses=[_base_.ce, dict(_base_.line, splitter=splitter, kernel_size=size)],
            published=dict(dataset=dataset, method='line', splitter=splitter, kernel=size),
        )
        for splitter in ('A', 'B', 'C')
        for size in kernels
    }


study = dict(
    published='epl_results: XIII',
    parts=dict(
        voc=dict(arms=arms('VOC', (7, 9, 11))), city=dict(arms=arms('Cityscapes', (9, 11, 13)))
    ),
)

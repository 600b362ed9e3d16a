# Table XII of EPL's paper: the directions of the point term, with its norm and its kernel.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernels):
    return {
        f'{norm}_{splitter.lower()}_{size}': dict(
            title=f'point, {norm.upper()}, {splitter}, {size}',
            losses=[_base_.ce, dict(_base_.point, norm=norm, splitter=splitter, kernel_size=size)],
            published=dict(
                dataset=dataset, method='point', norm=norm.upper(), splitter=splitter, kernel=size
            ),
        )
        for norm in ('l1', 'l2')
        for splitter in ('A', 'B', 'C')
        for size in kernels
    }


study = dict(
    published='epl_results: XII',
    parts=dict(
        voc=dict(arms=arms('VOC', (7, 9, 11))), city=dict(arms=arms('Cityscapes', (9, 11, 13)))
    ),
)

# Table III of EPL's paper: one window (SC) against four directions (AC). It gives neither weights
# nor kernels; these are the ones of the best rows with directions in Tables I, XIV and XV.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, point, line):
    return {
        f'{name.lower()}_{term}': dict(
            title=f'{term}, {name}',
            losses=[_base_.ce, dict(loss, splitter=splitter)],
            published=dict(dataset=dataset, method=f'{name}+{term}'),
        )
        for name, splitter in (('SC', 'SC'), ('AC', 'A'))
        for term, loss in (('point', point), ('line', line))
    }


voc = arms(
    'VOC',
    dict(_base_.point, kernel_size=7),
    dict(_base_.line, kernel_size=7, loss_weight=0.2),
)
city = arms(
    'Cityscapes',
    dict(_base_.point, kernel_size=9),
    dict(_base_.line, kernel_size=11, loss_weight=0.5),
)
study = dict(published='epl_results: III', parts=dict(voc=dict(arms=voc), city=dict(arms=city)))

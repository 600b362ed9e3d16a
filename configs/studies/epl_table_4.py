# Table IV of EPL's paper: mu of the line term. It gives no kernel; its numbers at mu 10 are those
# of Table XV, which has 7 and 11.
_base_ = './_base_/epl_ablation.py'


def arms(dataset, kernel_size):
    line = dict(_base_.line, kernel_size=kernel_size, loss_weight=0.2)
    return {
        f'mu_{mu}': dict(
            title=f'line, mu {mu}',
            losses=[_base_.ce, dict(line, mu=mu)],
            published=dict(dataset=dataset, method='line', mu=mu),
        )
        for mu in (2, 4, 10, 16, 20)
    }


study = dict(
    published='epl_results: IV',
    parts=dict(voc=dict(arms=arms('VOC', 7)), city=dict(arms=arms('Cityscapes', 11))),
)

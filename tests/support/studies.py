"""The file of a made-up study, and a way to change it."""

import copy

CE = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
DICE = dict(type='SoftDiceLoss', loss_weight=1.0)
GOOD = dict(
    question='Does it help?',
    base='configs/pspnet_ce_shapes.py',
    iterations=8,
    checkpoint_interval=2,
    arms=dict(
        ce=dict(title='CE', losses=[CE]),
        bwce=dict(losses=[dict(type='BoundaryWeightedCELoss')], start=0.5),
        dice=dict(losses=[CE, DICE], start=0.5),
    ),
    base_arm='ce',
    baselines=['bwce'],
    finals=['dice'],
    seeds=[0, 1, 2, 3, 4, 5],
    splits=dict(val=dict(), test=dict(dataset=dict(seed=2), opened_last=True)),
    endpoints=['mBoundaryF_3px', dict(key='mBoundaryF_3px', classes=['table'], title='tables')],
    margins=dict(mIoU=0.5),
    tuning=dict(
        split='held_out',
        dataset=dict(seed=3),
        options={'train_dataloader.dataset.length': 5},
        seeds=[100],
        start=0.75,
        grid=dict(
            bwce=[{'losses.0.width': 3}, {'losses.0.width': 5}],
            dice=[{'losses.1.loss_weight': 1.0}, {'losses.1.loss_weight': 3.0}],
        ),
    ),
    seconds=dict(iteration=1.0, evaluation=10.0),
    budget=3.0,
)


def write_study(folder, changes):
    """Writes GOOD with changes, {'a.b': value}, and returns the file."""
    given = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *path, last = key.split('.')
        place = given
        for part in path:
            place = place[part]
        place[last] = value
    (folder / 'made_up.py').write_text(f'study = {given!r}\n')
    return folder / 'made_up.py'

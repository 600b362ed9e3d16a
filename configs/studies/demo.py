# What `make demo` runs in place; tools/demo.py replaces the arms by those that it is asked for. One
# seed shows how the tools work, and nothing about the losses.
study = dict(
    question='What does EPL change on drawn shapes, from one seed?',
    base='configs/pspnet_ce_shapes.py',
    arms=dict(
        ce=dict(title='CE', config='configs/pspnet_ce_shapes.py'),
        epl=dict(title='CE + EPL', config='configs/pspnet_epl_shapes.py', cost=2),
    ),
    checkpoint_interval=700,
    seeds=[0],
    splits=dict(val=dict()),
    endpoints=['mBoundaryF_3px', 'mBoundaryIoU_3px', 'mTrimapIoU_3px'],
    seconds=dict(iteration=0.12, evaluation=20),
    budget=24,
    space=0.5,
)

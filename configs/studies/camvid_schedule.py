# At which learning rate is the cross-entropy best after 100 epochs, and has it converged by then?
# Decides the schedule of the study of the losses; no image of val or test is looked at.
held_out = dict(
    data_prefix=dict(img_path='train', seg_map_path='trainannot'), drive_part=(0.8, 1.0)
)
study = dict(
    question='At which learning rate is the cross-entropy best, and has it converged?',
    base='configs/pspnet_ce_camvidhalf.py',
    arms=dict(
        lr_0050=dict(title='0.005', options={'optim_wrapper.optimizer.lr': 0.005}),
        lr_0025=dict(title='0.0025', options={'optim_wrapper.optimizer.lr': 0.0025}),
        lr_0100=dict(title='0.01', options={'optim_wrapper.optimizer.lr': 0.01}),
    ),
    options={'train_dataloader.dataset.drive_part': (0.0, 0.8)},
    seeds=[100],
    splits=dict(held_out=dict(dataset=held_out)),
    endpoints=[
        'mBoundaryF_2px',
        dict(
            key='mBoundaryF_2px',
            title='F at 2 px, frequent classes',
            classes=['sky', 'building', 'road', 'pavement', 'tree', 'car'],
        ),
    ],
    seconds=dict(iteration=0.35, evaluation=20),
    budget=3,
)

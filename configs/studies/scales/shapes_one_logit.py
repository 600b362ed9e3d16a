# Drawn shapes with one logit: tables on the ground, and all other objects void.
_base_ = './shapes.py'
metainfo = dict(classes=('ground', 'table'), palette=[[60, 60, 60], [0, 114, 178]])
train_dataloader = dict(dataset=dict(metainfo=metainfo))
val_dataloader = test_dataloader = dict(dataset=dict(metainfo=metainfo))
model = dict(
    decode_head=dict(num_classes=2, out_channels=1, threshold=0.5),
    auxiliary_head=dict(num_classes=2, out_channels=1, threshold=0.5),
)

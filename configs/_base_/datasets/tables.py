# Drawn shapes, of which tables alone are a class: 3 % of the pixels, in three of four images.
_base_ = './shapes.py'
tables = dict(
    others_as_ground=True,
    metainfo=dict(classes=('ground', 'table'), palette=[[60, 60, 60], [0, 114, 178]]),
)
train_dataloader = dict(batch_size=8, dataset=tables)
val_dataloader = test_dataloader = dict(dataset=tables)

# The small PSPNet on drawn shapes: about a minute on two CPU cores.
_base_ = ['./pspnet_small.py', '../datasets/shapes.py']
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=6),
    auxiliary_head=dict(num_classes=6),
)

param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=700, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=700, val_interval=700)

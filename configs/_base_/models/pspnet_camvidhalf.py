# The small PSPNet on CamVid at half size: 100 epochs.
_base_ = ['./pspnet_small.py', '../datasets/camvidhalf.py']
# Whole images are padded to 184 rows: were the 23 rows of the head enlarged to the image's 180, a
# contour at its bottom would lie 4 px too high.
data_preprocessor = dict(size=_base_.crop_size, test_cfg=dict(size_divisor=8))
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=11),
    auxiliary_head=dict(num_classes=11),
)

param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=4600, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4600, val_interval=4600)

# The small U-Net on one class that is rare.
_base_ = ['./unet_small.py', '../datasets/tables.py']
data_preprocessor = dict(size=_base_.crop_size)
model = dict(data_preprocessor=data_preprocessor, test_cfg=dict(mode='whole', _delete_=True))

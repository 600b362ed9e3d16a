# The small U-Net on microscopy images.
_base_ = ['./unet_small.py', '../datasets/nuclei.py']
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    # The net halves its input four times, which not every image size allows for.
    test_cfg=dict(crop_size=_base_.crop_size, stride=(96, 96)),
)

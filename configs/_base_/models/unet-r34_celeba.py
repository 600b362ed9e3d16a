# The thesis' U-Net with one logit, and its protocol: 60 epochs of 23200 faces in batches of 32.
_base_ = ['./unet-r34.py', '../datasets/celeba.py', '../schedules/thesis.py']
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=2, out_channels=1, threshold=0.5),
)

train_cfg = dict(max_iters=43500, val_interval=7250)
default_hooks = dict(checkpoint=dict(interval=7250))

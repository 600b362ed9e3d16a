# A U-Net of 0.4 million parameters with one logit, which learns from scratch on a CPU.
_base_ = ['mmseg::_base_/models/fcn_unet_s5-d16.py', '../schedules/small.py']
model = dict(
    backbone=dict(base_channels=8),
    decode_head=dict(
        in_channels=8,
        channels=8,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        # The inputs of the last layer are not negative and most pixels are background: from the
        # usual std of 0.01 the first steps make all of its weights negative, and after 600
        # iterations no pixel is a nucleus on nuclei (docs/results/nuclei_bf1/report.md).
        init_cfg=dict(type='Normal', std=0.3, override=dict(name='conv_seg')),
    ),
    auxiliary_head=dict(in_channels=16, channels=8),
)

param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=600, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600, val_interval=300)

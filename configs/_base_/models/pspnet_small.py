# A PSPNet of 1 million parameters that learns from scratch on a CPU.
_base_ = ['mmseg::_base_/models/pspnet_r50-d8.py', '../schedules/small.py']
model = dict(
    pretrained=None,
    backbone=dict(depth=18, stem_channels=16, base_channels=16),
    decode_head=dict(in_channels=128, channels=64),
    auxiliary_head=dict(in_channels=64, channels=32),
)

# Some five to ten minutes of one core per arm: nets of a few million parameters, on CamVid at
# half size, and with one logit on microscopy images. Its scores say whether a loss trains and about
# where it ends; one seed does not tell two losses apart.
_base_ = './tiny.py'
scale = dict(
    title='nets of few layers and channels from random weights, 800 iterations of 8 crops',
    caveat='One seed on other data: differences of some points are within chance, and no score '
    'here is to be compared with a published one.',
    data=dict(config='configs/pspnet_ce_camvidhalf.py', images='CamVid at half size'),
    one_logit=dict(config='configs/unet/unet-s5-d16_ce_nuclei.py', images='microscopy images'),
    iterations=800,
    small=dict(
        ResNetV1c=dict(depth=18, stem_channels=16, base_channels=16),
        ResNet=dict(base_channels=16),
        ResNetEncoder=dict(base_channels=16),
    ),
    channels=64,
    seconds=dict(iteration=0.5, evaluation=20),
    budget=6,
)

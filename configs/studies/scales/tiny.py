# Minutes on a CPU, to see that a study runs: nets of a few hundred thousand parameters, 40
# iterations on drawn shapes. Its scores say nothing about the losses.
resnet = dict(stem_channels=8, base_channels=8)
scale = dict(
    title='nets of few channels, 40 iterations on drawn shapes',
    caveat='It shows that the study runs; no score here is to be compared with a published one.',
    data=dict(config='configs/studies/scales/shapes.py', images='drawn shapes'),
    one_logit=dict(config='configs/studies/scales/shapes_one_logit.py', images='drawn shapes'),
    iterations=40,
    small=dict(
        ResNetV1c=resnet,
        ResNet=dict(base_channels=8),
        ResNetEncoder=dict(base_channels=8),
        DRN=dict(base_channels=2),
        WiderResNet=dict(
            stem_channels=8,
            structure=(1, 1, 1, 1, 1, 1),
            widths=((16, 16), (16, 16), (32, 32), (32, 64), (32, 64, 64), (32, 64, 128)),
        ),
        MobileNetV2=dict(widen_factor=0.25),
        MobileNetV2Encoder=dict(widen_factor=0.25),
        UNet=dict(base_channels=8),
        UNetHead=dict(decoder_channels=(32, 32, 16, 16, 8)),
    ),
    channels=32,
    seconds=dict(iteration=0.3, evaluation=8),
    budget=2,
)

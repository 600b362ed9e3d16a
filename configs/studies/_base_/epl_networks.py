# Networks with and without EPL, each by the protocol of the implementation that EPL's paper
# adopted. Each is a part of the table of its data.


def parts(data, networks):
    return {
        stem.rpartition('/')[2].replace('-', '_'): dict(
            base=f'configs/{stem}_ce_{data}.py',
            arms={
                losses: dict(
                    title=f'{model} {backbone}{title}',
                    config=f'configs/{stem}_{losses}_{data}.py',
                    published=dict(model=model, backbone=backbone, method=method),
                )
                for losses, title, method in (('ce', '', 'baseline'), ('epl', ' + EPL', 'EPL'))
            },
        )
        for stem, model, backbone in networks
    }


shared = [
    ('psanet/psanet-r50', 'PSANet', 'R50'),
    ('psanet/psanet-r101', 'PSANet', 'R101'),
    ('pspnet/pspnet-r50', 'PSPNet', 'R50'),
    ('pspnet/pspnet-r101', 'PSPNet', 'R101'),
]
voc = parts(
    'voc',
    [
        *shared,
        ('deeplabv3plus/deeplabv3plus-mbv2', 'DeepLabv3+', 'MobileNet'),
        ('deeplabv3plus/deeplabv3plus-drn54', 'DeepLabv3+', 'DRN-54'),
        ('deeplabv3plus/deeplabv3plus-r101', 'DeepLabv3+', 'R101'),
    ],
)
city = parts(
    'city',
    [
        *shared,
        ('deeplabv3plus/deeplabv3plus-wrn38', 'DeepLabv3+', 'WRN38'),
        ('ccnet/ccnet-wrn38', 'CCNet', 'WRN38'),
        ('gscnn/gscnn-wrn38', 'GSCNN', 'WRN38'),
    ],
)
study = dict(
    published_scores=dict(mIoU='mIoU'),
    tta=True,
    seeds=[0],
    endpoints=['mIoU', 'mBoundaryF_3px'],
    splits=dict(val=dict()),
    seconds=dict(iteration=8.0, evaluation=7200),
    budget=500,
)

# Table IX of EPL's paper: seven networks on Cityscapes.
_base_ = './_base_/epl_networks.py'


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


study = dict(
    question='Does EPL raise mIoU on Cityscapes, whatever the network?',
    data='Cityscapes',
    published='epl_results: IX',
    parts=parts(
        'city',
        [
            ('psanet/psanet-r50', 'PSANet', 'R50'),
            ('psanet/psanet-r101', 'PSANet', 'R101'),
            ('pspnet/pspnet-r50', 'PSPNet', 'R50'),
            ('pspnet/pspnet-r101', 'PSPNet', 'R101'),
            ('deeplabv3plus/deeplabv3plus-wrn38', 'DeepLabv3+', 'WRN38'),
            ('ccnet/ccnet-wrn38', 'CCNet', 'WRN38'),
            ('gscnn/gscnn-wrn38', 'GSCNN', 'WRN38'),
        ],
    ),
)

# Table VIII of EPL's paper: seven networks on VOC.
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
    question='Does EPL raise mIoU on VOC, whatever the network?',
    data='VOC',
    published='epl_results: VIII',
    parts=parts(
        'voc',
        [
            ('psanet/psanet-r50', 'PSANet', 'R50'),
            ('psanet/psanet-r101', 'PSANet', 'R101'),
            ('pspnet/pspnet-r50', 'PSPNet', 'R50'),
            ('pspnet/pspnet-r101', 'PSPNet', 'R101'),
            ('deeplabv3plus/deeplabv3plus-mbv2', 'DeepLabv3+', 'MobileNet'),
            ('deeplabv3plus/deeplabv3plus-drn54', 'DeepLabv3+', 'DRN-54'),
            ('deeplabv3plus/deeplabv3plus-r101', 'DeepLabv3+', 'R101'),
        ],
    ),
)

"""Writes smp.json, which the networks of segmentation_models_pytorch are compared with.

That package asks for torchvision, of which there is no build for the CPU, and would bring another
torch into a stack. It has an environment of its own, outside of this folder:

    python3.11 -m venv ENV
    ENV/bin/pip install torch==2.13.0 numpy pillow 'huggingface_hub<1' safetensors pyyaml
    ENV/bin/pip install --no-deps torchvision==0.29.2 timm==1.0.31
    ENV/bin/pip install --no-deps segmentation_models_pytorch==0.6.0
    ENV/bin/python -m tests.registered.models.make_smp_fixture
"""

import json
from pathlib import Path

import torch

from tests.support.formula import images, weights

FILE = Path(__file__).with_name('smp.json')
ENCODERS = {'r34': 'resnet34', 'r50': 'resnet50', 'mbv2': 'mobilenet_v2'}
# {case: (network, encoder, K, height, width, the step between the pixels that are kept)}. One image
# is so large that the largest dilation of the pyramid reaches from one end to the other.
CASES = {
    'unet-r34': ('unet', 'r34', 3, 64, 96, 8),
    'unet-r50': ('unet', 'r50', 1, 64, 96, 8),
    'unet-mbv2': ('unet', 'mbv2', 3, 64, 96, 8),
    'unet-mbv2, not a multiple of 32': ('unet', 'mbv2', 1, 72, 100, 8),
    'deeplabv3plus-r34': ('deeplabv3plus', 'r34', 1, 64, 96, 8),
    'deeplabv3plus-r50': ('deeplabv3plus', 'r50', 3, 64, 96, 8),
    'deeplabv3plus-mbv2': ('deeplabv3plus', 'mbv2', 3, 640, 96, 16),
}


def main():
    # The operators that torchvision's compiled part would have defined.
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    import segmentation_models_pytorch as smp

    networks = dict(unet=smp.Unet, deeplabv3plus=smp.DeepLabV3Plus)

    def build(network, encoder, classes):
        options = dict(encoder_weights=None, classes=classes)
        return networks[network](ENCODERS[encoder], **options).eval()

    found = dict(version=smp.__version__, shapes={}, counts={}, outputs={})
    for network in networks:
        for encoder in ENCODERS:
            model = build(network, encoder, 19)
            found['shapes'][encoder] = shapes_of(model.encoder)
            head = dict(decoder=model.decoder, segmentation_head=model.segmentation_head)
            found['shapes'][f'{network}-{encoder}'] = shapes_of(torch.nn.ModuleDict(head))
            found['counts'][f'{network}-{encoder}'] = {
                str(classes): sum(
                    each.numel() for each in build(network, encoder, classes).parameters()
                )
                for classes in (1, 19)
            }
    for case, (network, encoder, classes, height, width, step) in CASES.items():
        model = build(network, encoder, classes)
        shapes = {name: list(each.shape) for name, each in model.state_dict().items()}
        model.load_state_dict(weights(shapes))
        with torch.no_grad():
            logits = model(images(height, width))
        assert logits.shape == (1, classes, height, width)
        kept = logits[0, :, ::step, ::step]
        print(
            f'{case}: mean {kept.mean():.4g}, std {kept.std():.4g}, '
            f'of pixels {kept.std((1, 2)).mean():.4g}'
        )
        found['outputs'][case] = dict(
            network=network,
            encoder=encoder,
            classes=classes,
            size=[height, width],
            step=step,
            logits=[float(f'{value:.6g}') for value in kept.flatten().tolist()],
        )
    FILE.write_text(json.dumps(found, separators=(',', ':')).replace('},"', '},\n"') + '\n')
    print(f'{FILE.stat().st_size} bytes')


def shapes_of(module):
    return {name: list(each.shape) for name, each in module.state_dict().items()}


if __name__ == '__main__':
    main()

"""What MMSegmentation alone makes of configs; run as a program where mmseg_boundary cannot be
imported.

Its folder has pairs of a config and the number of its checkpoint in pairs.json, and the checkpoints
{number}.pth with the logits that our config gives. Without a number the network is not built, since
its operators are not compiled.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import DATASETS, HOOKS, METRICS, TRANSFORMS

SIDE = 64


def narrow(model):
    """The network with an eighth of the channels, and tests in small windows, where it is large."""
    backbone = model.backbone
    large = backbone.get('base_channels', 64) == 64
    if large and backbone.type in ('ResNet', 'ResNetV1c', 'UNet'):
        backbone.base_channels = 8
        if backbone.type != 'UNet':
            backbone.stem_channels = 8
        if model.test_cfg.mode == 'slide':
            model.test_cfg.update(crop_size=(SIDE, SIDE), stride=(SIDE // 2, SIDE // 2))
            model.data_preprocessor.test_cfg.size = (SIDE, SIDE)
        heads = model.auxiliary_head or []
        for head in [model.decode_head, *(heads if isinstance(heads, list) else [heads])]:
            for name in ('in_channels', 'c1_in_channels'):
                if isinstance(head.get(name), int):
                    head[name] //= 8
                elif name in head:
                    head[name] = [channels // 8 for channels in head[name]]
            if 'channels' in head:
                head.channels = 16
    return model


def logits_of(model):
    inputs = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(inputs, mode='tensor')


def build_all(config):
    """What a runner builds, but for the data, which are elsewhere."""
    init_default_scope(config.default_scope)
    Visualizer.get_instance('alone')  # hooks ask for one
    evaluators = {str(config[name]): config[name] for name in ('val_evaluator', 'test_evaluator')}
    for evaluator in evaluators.values():
        for each in evaluator if isinstance(evaluator, list) else [evaluator]:
            METRICS.build(dict(each))
    for hook in [*config.default_hooks.values(), *(config.get('custom_hooks') or [])]:
        HOOKS.build(dict(hook))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = config[name].dataset
        for each in [dataset, *dataset.get('datasets', ())]:
            module = DATASETS.get(each.type).__module__
            assert module.partition('.')[0] in ('mmseg', 'mmengine'), each.type
            for transform in each.get('pipeline', ()):
                TRANSFORMS.build(dict(transform))


def main(folder):
    compared = set()
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for path, number in json.loads((folder / 'pairs.json').read_text()):
        config = Config.fromfile(path)
        build_all(config)
        if number is None:
            continue
        narrow(config.model)
        if (number, str(config.model)) in compared:
            continue
        compared.add((number, str(config.model)))
        checkpoint = str(folder / f'{number}.pth')
        saved = torch.load(checkpoint, weights_only=True)
        model = init_model(config.copy(), checkpoint, device='cpu')
        assert set(model.state_dict()) <= set(saved['state_dict']), path
        assert torch.equal(logits_of(model), saved['logits']), path
        for transform in [*config.test_pipeline, *config.test_dataloader.dataset.pipeline]:
            if transform.type == 'Resize':
                transform.scale = (SIDE, SIDE)
        model.cfg = config
        found = MMSegInferencer(config, checkpoint, device='cpu')(image)['predictions']
        expected = inference_model(model, image).pred_sem_seg.data[0].numpy()
        assert expected.shape == (SIDE, SIDE), (path, expected.shape)
        assert np.array_equal(found.squeeze(), expected), (path, found.shape)
    print(f'{len({number for number, _ in compared})} networks')


if __name__ == '__main__':
    main(Path(sys.argv[1]))

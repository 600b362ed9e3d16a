"""Stock nets with a sampler of hard pixels train with each loss, which changes no cross-entropy."""

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

import mmseg_boundary.registered  # noqa: F401
from tests.support.losses import LOSSES
from tests.support.nets import preprocessed

WITHOUT_PIXEL_MEAN = [name for name in LOSSES if not MODELS.get(name).takes_pixel_weight]
CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=False)
KEPT = 500  # of two images of 64 x 64 pixels, twice as many
# What makes the stock nets small
SMALL = {
    # OHEM with a threshold: pixel weights
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py': dict(
        backbone=dict(
            backbone_cfg=dict(channels=(4, 4, 8, 16, 32)),
            last_in_channels=(32, 16),
            out_channels=8,
            ffm_cfg=dict(in_channels=16, out_channels=8),
        ),
        # An untrained net is sure of no pixel: the stock threshold would take all of them.
        decode_head=dict(in_channels=8, channels=8, sampler=dict(thresh=0.01, min_kept=KEPT)),
        auxiliary_head=[
            dict(in_channels=8, channels=8, sampler=dict(min_kept=KEPT)),
            dict(in_channels=8, channels=8, sampler=dict(min_kept=KEPT)),
            dict(in_channels=8, channels=8),
        ],
    ),
    # OHEM without one: pixels are ranked by the losses, which are asked for a value of each
    'deeplabv3/deeplabv3_r101-d16-mg124_4xb2-40k_cityscapes-512x1024.py': dict(
        pretrained=None,
        backbone=dict(depth=18, base_channels=4, stem_channels=4),
        decode_head=dict(in_channels=32, channels=8, sampler=dict(min_kept=KEPT)),
        auxiliary_head=dict(in_channels=16, channels=8),
    ),
}
STDC, DEEPLAB = SMALL


def merged(config, changes):
    if isinstance(config, list):
        return [merged(*pair) for pair in zip(config, changes, strict=True)]
    if not isinstance(changes, dict):
        return changes
    return {**config, **{key: merged(config.get(key), value) for key, value in changes.items()}}


def net(name, *losses, **sampler):
    """The stock net, small, with these losses in its main head, and always the same weights."""
    register_all_modules()
    stock = Config.fromfile(f'{mmseg.__path__[0]}/.mim/configs/{name}').model.to_dict()
    config = merged(stock, SMALL[name])
    assert config['decode_head']['sampler']['type'] == 'OHEMPixelSampler'
    assert config['decode_head']['loss_decode'] == dict(CROSS_ENTROPY, loss_weight=1.0)
    config['decode_head']['loss_decode'] = list(losses)
    config['decode_head']['sampler'].update(sampler)
    config['data_preprocessor']['size'] = (64, 64)
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(config)).train()


def batch_for(model):
    torch.manual_seed(1)
    return preprocessed(model, 19, 64, 64)


def losses_of(model, batch):
    torch.manual_seed(2)  # of dropout
    return model.loss(batch['inputs'], batch['data_samples'])


def train(name, losses, **sampler):
    """Two steps, of which cross-entropy has the value that it has alone, bit for bit."""
    model, alone = net(name, *losses, **sampler), net(name, CROSS_ENTROPY, **sampler)
    batch = batch_for(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    values = []
    for _ in range(2):
        alone.load_state_dict(model.state_dict())
        expected, given = losses_of(alone, batch), losses_of(model, batch)
        (ours,) = set(given) - set(expected)
        assert all(given[key].equal(expected[key]) for key in expected)
        last_layer = model.decode_head.conv_seg.weight
        (gradient,) = torch.autograd.grad(given[ours], last_layer, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any()
        total, _ = model.parse_losses(given)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(given['decode.loss_ce'].item())
    assert values[0] != values[1]
    return values


@pytest.mark.parametrize('name', LOSSES)
def test_a_sampler_with_a_threshold(name):
    ours = dict(
        type=name, **dict.fromkeys(['pixel_weight'] * (name in WITHOUT_PIXEL_MEAN), 'ignore')
    )
    train(STDC, [CROSS_ENTROPY, ours])


@pytest.mark.parametrize('name', WITHOUT_PIXEL_MEAN)
def test_a_sampler_that_ranks_pixels(name):
    """Ours comes first: what it gives is added to in place."""
    train(DEEPLAB, [dict(type=name, pixel_weight='ignore'), CROSS_ENTROPY])


@pytest.mark.parametrize('name', sorted(set(LOSSES) - set(WITHOUT_PIXEL_MEAN)))
def test_a_pixel_mean_ranks_no_pixels_and_takes_weights(name):
    losses = [CROSS_ENTROPY, dict(type=name)]
    model = net(DEEPLAB, *losses)
    with pytest.raises(ValueError, match=f'{name} has no value .* give the sampler a `thresh`'):
        losses_of(model, batch_for(model))
    train(DEEPLAB, losses, thresh=0.01)


def test_the_samplers_choose():
    """Or else these tests would say nothing."""
    for name in SMALL:
        model = net(name, CROSS_ENTROPY)
        batch = batch_for(model)
        hard = losses_of(model, batch)['decode.loss_ce']
        model.decode_head.sampler = None
        assert losses_of(model, batch)['decode.loss_ce'] != hard


@pytest.mark.parametrize('net_name, said', [(STDC, 'is no mean over'), (DEEPLAB, 'has no value')])
def test_both_nets_refuse_without_it(net_name, said):
    model = net(net_name, CROSS_ENTROPY, dict(type='BF1Loss'))
    with pytest.raises(ValueError, match=f"BF1Loss {said}.*pixel_weight='ignore'"):
        losses_of(model, batch_for(model))

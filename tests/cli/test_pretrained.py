"""Pretrained weights that are missing, or of another network."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import nn

from mmseg_boundary.cli.parts import require_parts
from mmseg_boundary.cli.pretrained import watch_pretrained
from tests.support.commands import SHAPES
from tests.support.small_run import train


class Part(BaseModule):
    """Sixteen convolutions without bias, and a batch norm of four tensors that count."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(nn.Conv2d(1, 1, 1, bias=False) for _ in range(16))
        self.bn = nn.BatchNorm2d(1)


class Whole(BaseModule):
    def __init__(self, *init_cfgs):
        super().__init__()
        self.backbone = Part(init_cfgs[0])
        self.neck = Part(init_cfgs[1] if len(init_cfgs) > 1 else None)


def write(path, lacking=(), prefix='', **more):
    weights = {key: value + 1 for key, value in Part().state_dict().items() if key not in lacking}
    weights.update(more)
    torch.save({prefix + key: value for key, value in weights.items()}, path)
    return dict(type='Pretrained', checkpoint=str(path))


def begin(*init_cfgs):
    model = Whole(*init_cfgs)
    watch_pretrained(model)
    model.init_weights()
    return model


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_weights_that_fit_are_loaded_in_silence(prefix, warned, tmp_path):
    """A tenth may lack: 2 of 20."""
    model = begin(write(tmp_path / 'a.pth', ['convs.3.weight', 'convs.7.weight'], prefix))
    assert warned == []
    assert model.backbone.bn.weight.item() == 2 != model.neck.bn.weight.item()


def test_counters_of_batches_do_not_count(warned, tmp_path):
    lacking = ['convs.3.weight', 'convs.7.weight', 'bn.num_batches_tracked']
    begin(write(tmp_path / 'a.pth', lacking))
    assert warned == []


def test_fewer_are_a_warning_that_names_the_first(warned, tmp_path):
    """In the order of the network, whether a tensor is missing or of another shape."""
    path = tmp_path / 'a.pth'
    begin(write(path, ['convs.9.weight', 'bn.bias'], **{'convs.5.weight': torch.zeros(2, 1, 1, 1)}))
    assert warned == [
        f'Of the 20 tensors of backbone, 17 are in its pretrained weights {path}; the others, of '
        'which convs.5.weight is the first, stay as they are initialized. Is it a file of this '
        'network? tools/convert_checkpoint.py converts published files.'
    ]


def test_a_file_of_another_network(warned, tmp_path):
    """With a prefix that the network has not; and of two parts each is compared with its own."""
    fits = write(tmp_path / 'fits.pth')
    other = write(tmp_path / 'other.pth', prefix='encoder.')
    begin(fits, other)
    (said,) = warned
    assert said.startswith(f'Of the 20 tensors of neck, 0 are in its pretrained weights {tmp_path}')
    assert 'of which convs.0.weight is the first' in said
    assert ' What it has besides begins with encoder.convs.0.weight. Is it' in said
    warned.clear()
    begin(dict(other, prefix='encoder.'), [dict(type='Kaiming', layer='Conv2d'), fits])
    assert warned == []


def test_a_part_that_loads_its_weights_itself(warned, tmp_path):
    """As MMSegmentation's Swin does, with torch."""

    class Own(Part):
        def init_weights(self):
            self.load_state_dict(torch.load(self.init_cfg['checkpoint']), strict=False)

    model = nn.Module()
    model.backbone = Own(write(tmp_path / 'a.pth', prefix='x.'))
    model.init_weights = lambda: model.backbone.init_weights()
    watch_pretrained(model)
    model.init_weights()
    assert warned[0].startswith('Of the 20 tensors of backbone, 0 are')


def test_nothing_is_watched_afterwards(warned, tmp_path):
    """Neither a checkpoint of the whole, nor what is loaded into the part later."""
    model = begin(write(tmp_path / 'a.pth'))
    model.load_state_dict({}, strict=False)
    model.backbone.load_state_dict({}, strict=False)
    assert warned == []
    assert not model.backbone._load_state_dict_post_hooks
    assert not model.backbone._load_state_dict_pre_hooks


def test_a_model_that_cannot_initialize_is_left_alone():
    watch_pretrained(nn.Linear(1, 1))


def test_a_training_warns(place):
    """Of a file that has nothing of the backbone."""
    torch.save({'conv1.weight': torch.zeros(1), 'fc.weight': torch.zeros(1)}, place / 'other.pth')
    options = [f'model.pretrained={place}/other.pth', 'train_cfg.max_iters=1']
    assert train(place, *options) is None
    (log,) = place.glob('work/*/*.log')
    said = log.read_text()
    assert 'tensors of backbone, 0 are in its pretrained weights' in said
    assert 'of which stem.0.weight is the first' in said


def missing(model):
    config = Config.fromfile(SHAPES)
    config.model.update(model)
    with pytest.raises(SystemExit) as end:
        require_parts(config, ('train_dataloader',))
    require_parts(config, ('test_dataloader',))  # tests read no pretrained weights
    return end.value.code


@pytest.mark.parametrize(
    'model, ways',
    [
        (dict(pretrained='no.pth'), 'model.pretrained=/path/to/file.pth, or train without: '
         'model.pretrained=None'),
        (dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='no.pth'))),
         'model.backbone.init_cfg.checkpoint=/path/to/file.pth, or train without: '
         'model.backbone.init_cfg=None'),
        (dict(backbone=dict(init_cfg=[dict(type='Pretrained', checkpoint='no.pth')])),
         'model.backbone.init_cfg.0.checkpoint=/path/to/file.pth'),
    ],
)  # fmt: skip
def test_a_missing_file_is_a_sentence_before_anything_is_built(model, ways):
    said = missing(model)
    assert said.startswith('The checkpoint no.pth does not exist, with whose weights')
    assert said.endswith(f'--cfg-options {ways}')


def test_the_ways_out_are_ways_out(tmp_path):
    init = dict(type='Pretrained', checkpoint='no.pth')
    for key, value in (
        ('model.backbone.init_cfg.checkpoint', str(tmp_path / 'a.pth')),
        ('model.backbone.init_cfg', None),
    ):
        torch.save({}, tmp_path / 'a.pth')
        config = Config.fromfile(SHAPES)
        config.model.backbone.init_cfg = init
        config.merge_from_dict({key: value})
        require_parts(config, ('train_dataloader',))

"""Keys as `--cfg-options` writes them, and the checkpoints that a run reads."""

from mmengine.config import Config

from mmseg_boundary.cli.config_tree import checkpoints_in, dicts_in

CONFIG = dict(
    load_from='a.pth',
    model=dict(
        pretrained='b.pth',
        heads=[dict(type='A'), (dict(type='B', init_cfg=dict(type='Pretrained', checkpoint='c')),)],
        backbone=dict(pretrained=None, init_cfg=dict(type='Kaiming', checkpoint='unread')),
        neck=dict(pretrained='b.pth'),
    ),
)


def test_every_dict_under_its_key():
    config = Config(CONFIG)
    keys = [key for key, _ in dicts_in(config.model, 'model')]
    assert keys[:4] == ['model', 'model.heads.0', 'model.heads.1.0', 'model.heads.1.0.init_cfg']
    assert len(keys) == 7
    for key, _ in dicts_in(config.to_dict()):
        if key and '.1.' not in key:  # MMEngine cannot reach into a tuple
            changed = config.copy()
            changed.merge_from_dict({f'{key}.new': 3})
            assert [name for name, each in dicts_in(changed.to_dict()) if 'new' in each] == [key]


def test_a_training_reads_pretrained_weights_too_each_once():
    config = Config(CONFIG)
    assert checkpoints_in(config, training=True) == ['a.pth', 'b.pth', 'c']
    assert checkpoints_in(config, training=False) == ['a.pth']
    assert checkpoints_in(Config(dict(model={}, load_from=None)), training=True) == []

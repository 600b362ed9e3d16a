"""Whether a checkpoint is of its net, and what a run that goes on from it has lost."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS

from mmseg_boundary.cli import safe_loading
from mmseg_boundary.cli.checkpoints import load_fully, origin_of, watch_runner
from mmseg_boundary.cli.errors import UnfitStart
from tests.support.commands import SHAPES
from tests.support.logs import text_of
from tests.support.small_run import evaluate, run_tool, train
from tests.support.tiny import build_tiny


@pytest.fixture(scope='module')
def tiny():
    """Its config, and its weights under the keys that a file has."""
    config, model = build_tiny()
    return config, model.state_dict()


@pytest.fixture
def said(caplog):
    """What the log says; without a run MMEngine has no logger."""
    logger = MMLogger.get_instance('checkpoints')
    logger.addHandler(caplog.handler)
    caplog.handler.setLevel('WARNING')
    return caplog


def load(settings, content, folder, partial=False, **options):
    torch.save(content, folder / 'a.pth')
    model = MODELS.build(settings)
    path = str(folder / 'a.pth')
    load_fully(lambda: load_checkpoint(model, path, 'cpu'), path, model, partial, **options)
    return model


def without(weights, part):
    return {key: tensor for key, tensor in weights.items() if part not in key}


def prefixed(weights):
    return {f'module.{key}': tensor for key, tensor in weights.items()}


FITTING = {
    'of the same net': lambda weights: dict(state_dict=weights, meta={}),
    'without meta': lambda weights: dict(state_dict=weights),
    'bare weights': lambda weights: weights,
    'of a wrapped net': lambda weights: dict(state_dict=prefixed(weights)),
    'of an old torch': lambda weights: dict(state_dict=without(weights, 'num_batches_tracked')),
}


@pytest.mark.parametrize('kind', FITTING)
def test_a_file_of_this_net(kind, tiny, said, tmp_path):
    config, weights = tiny
    model = load(config.model, FITTING[kind](weights), tmp_path)
    name = 'decode_head.conv_seg.weight'
    assert model.state_dict()[name].equal(weights[name])
    assert not said.records


def test_a_file_that_has_more_is_one_line_of_the_log(tiny, said, capsys, tmp_path):
    """As where the auxiliary head was removed from the config."""
    config, weights = tiny
    settings = config.model.to_dict()
    settings.pop('auxiliary_head')
    load(settings, dict(state_dict=weights), tmp_path)
    more = sum('auxiliary_head' in key for key in weights)
    (record,) = said.records
    assert f'a.pth has {more} tensors that the net has not: auxiliary_head.' in record.message
    assert record.message.endswith('…') and '\n' not in record.message
    assert 'unexpected' not in capsys.readouterr().out


def test_synchronised_statistics_are_the_same_net(tiny, tmp_path):
    config, weights = tiny
    assert config.model.backbone.norm_cfg.type == 'SyncBN'
    settings = config.model.to_dict()
    for part in ('backbone', 'decode_head', 'auxiliary_head'):
        settings[part]['norm_cfg'] = dict(type='BN')
    load(settings, dict(state_dict=weights), tmp_path)
    model = revert_sync_batchnorm(MODELS.build(config.model))
    path = str(tmp_path / 'a.pth')
    load_fully(lambda: load_checkpoint(model, path, 'cpu'), path, model, partial=False)


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize(
    'part, settings, key',
    [
        ('decode_head', dict(num_classes=4), 'decode_head.conv_seg.weight'),
        ('backbone', dict(depth=50), 'backbone.layer1.0.'),
        ('backbone', dict(base_channels=8), 'backbone.layer1.0.'),
    ],
)
def test_a_file_of_another_net_is_refused(wrapped, part, settings, key, tiny, tmp_path):
    """It says how many tensors, which are the first three, and of what the file is."""
    config, weights = tiny
    net = config.model.to_dict()
    net[part] |= settings
    if wrapped:
        net = dict(type='BoundarySegTTAModel', module=net)
    meta = dict(experiment_name='pspnet_epl_city_20260102_030405')
    with pytest.raises(UnfitStart) as caught:
        load(net, dict(state_dict=weights, meta=meta), tmp_path)
    message = str(caught.value)
    assert key in message and 'a.pth' in message and '(it says: of pspnet_epl_city)' in message
    if settings == dict(num_classes=4):
        assert message.startswith('2 of the ') and '…' not in message
    else:
        assert message.count(',') >= 4 and ', …)' in message


@pytest.mark.parametrize('content', [{}, dict(state_dict={}), dict(model={'a': torch.ones(1)})])
def test_a_file_without_weights_is_refused(content, tiny, tmp_path):
    config, weights = tiny
    count = sum('num_batches_tracked' not in key for key in weights)
    with pytest.raises(UnfitStart, match=f'^{count} of the {count} tensors .* another net. Give'):
        load(config.model, content, tmp_path)


def test_one_missing_key_is_enough(tiny, tmp_path):
    config, weights = tiny
    with pytest.raises(UnfitStart, match=r'^1 of .* \(auxiliary_head.conv_seg.bias\): it is'):
        load(config.model, without(weights, 'auxiliary_head.conv_seg.bias'), tmp_path)


def with_a_list(settings):
    """The net with its auxiliary head, under other keys then, and a second one."""
    net = settings.to_dict()
    first = net['auxiliary_head']
    net['auxiliary_head'] = [first, dict(first, channels=2)]
    return net


@pytest.mark.parametrize('lists', ['net', 'file'])
def test_a_test_needs_no_auxiliary_head(lists, tiny, said, tmp_path):
    """With other auxiliary heads in the config, or in the file; all else is loaded. A training
    that goes on needs them."""
    config, weights = tiny
    net = with_a_list(config.model)
    if lists == 'file':
        weights, net = MODELS.build(net).state_dict(), config.model
    model = load(net, dict(state_dict=weights), tmp_path, tests=True)
    for key, tensor in model.state_dict().items():
        assert key.startswith('auxiliary_head.') or tensor.equal(weights[key])
    lacking, unknown = said.records
    lack = [key for key in model.state_dict() if key.startswith('auxiliary_head.')]
    lack = [key for key in lack if 'num_batches_tracked' not in key]
    assert f'a.pth lacks {len(lack)} tensors of the auxiliary heads' in lacking.message
    assert 'tensors that the net has not: auxiliary_head.' in unknown.message
    with pytest.raises(UnfitStart, match=rf'^{len(lack)} of the .*auxiliary_head\.'):
        load(net, dict(state_dict=weights), tmp_path)


def test_a_test_takes_auxiliary_heads_of_other_shapes_and_no_other_decode_head(tiny, tmp_path):
    config, weights = tiny
    net = config.model.to_dict()
    net['auxiliary_head']['num_classes'] = 4
    load(net, dict(state_dict=weights), tmp_path, tests=True)
    net['decode_head']['num_classes'] = 4
    with pytest.raises(UnfitStart, match=r'^2 of .*\(decode_head.conv_seg.weight, decode_head'):
        load(net, dict(state_dict=weights), tmp_path, tests=True)


def test_what_is_no_tensor_does_not_fit(tiny, tmp_path):
    config, weights = tiny
    with pytest.raises(UnfitStart, match=r'^1 of .*\(decode_head.conv_seg.bias\)'):
        load(config.model, {**weights, 'decode_head.conv_seg.bias': 3.0}, tmp_path)


def test_partial_takes_what_fits(tiny, said, tmp_path):
    config, weights = tiny
    net = config.model.to_dict()
    net['decode_head']['num_classes'] = 4
    model = load(net, dict(state_dict=weights), tmp_path, partial=True)
    name = 'auxiliary_head.conv_seg.weight'
    assert model.state_dict()[name].equal(weights[name])
    (record,) = said.records
    assert record.message.startswith('--partial: 2 of the ') and record.levelname == 'WARNING'


def test_nothing_stays_on_the_model(tiny, tmp_path):
    model = load(tiny[0].model, tiny[1], tmp_path)
    assert not model._load_state_dict_pre_hooks and not model._load_state_dict_post_hooks


@pytest.mark.parametrize(
    'meta, name',
    [
        (dict(experiment_name='my-net.v2_20260102_030405'), 'my-net.v2'),
        (dict(experiment_name='20260102_030405'), None),
        (dict(cfg="a = 1\nwork_dir = './work_dirs/pspnet_r50'\n"), 'pspnet_r50'),
        (dict(cfg="work_dir = 'x'"), 'x'),
        (dict(experiment_name='\x1b[2Ja_20260102_030405', cfg="work_dir = '\x1b[2J'"), None),
        (dict(experiment_name=3, cfg=None), None),
        ('text', None),
        (None, None),
    ],
)
def test_the_config_that_a_file_names(meta, name):
    """Nothing is evaluated, and nothing but a plain name gets into the message."""
    assert origin_of(dict(meta=meta)) == name
    assert origin_of({}) is None


ONE, TWO = 'train_cfg.max_iters=1', 'train_cfg.max_iters=2'


OTHER_NET = 'model.decode_head.channels=32'


def test_a_run_with_averaged_weights(place):
    """Its file is one of the net, with the hook in the config and without; the resumed run too."""
    text = (place / 'config.py').read_text()
    (place / 'config.py').write_text(f"{text}custom_hooks = [dict(type='EMAHook')]\n")
    assert train(place, ONE) is None
    (place / 'work/iter_1.pth').rename(place / 'good.pth')
    assert evaluate(place) is None
    (place / 'good.pth').rename(place / 'work/iter_1.pth')
    said = train(place, TWO, OTHER_NET, resume=True)
    assert 'tensors of the net are missing in the checkpoint' in said
    assert train(place, TWO, resume=True) is None
    (place / 'work/iter_2.pth').rename(place / 'good.pth')
    (place / 'config.py').write_text(text)
    assert evaluate(place) is None


def test_averaged_weights_of_other_shapes(place):
    """EMAHook loads all of them or none."""
    with (place / 'config.py').open('a') as config:
        config.write("custom_hooks = [dict(type='EMAHook')]\n")
    assert train(place, ONE) is None
    said = train(place, TWO, OTHER_NET, resume=True, flags=['--partial'])
    assert 'iter_1.pth has averaged weights of other shapes' in said
    assert said.endswith(f'--cfg-options load_from={place}/work/iter_1.pth')


@pytest.mark.parametrize('change', [OTHER_NET, 'model.auxiliary_head=None'])
def test_an_optimizer_of_other_parameters_starts_anew(change, place):
    """Its state is kept by position."""
    assert train(place, ONE) is None
    partial = ['--partial'] if change == OTHER_NET else []
    assert train(place, TWO, change, resume=True, flags=partial) is None
    said = 'holds no state of' if partial else 'holds the state of an optimizer of other parameters'
    assert f'work/iter_1.pth {said}' in text_of(place / 'work')
    assert 'resumed epoch: 0, iter: 1' in text_of(place / 'work')


def test_a_flexible_runner(place):
    """Its strategy loads."""
    with (place / 'config.py').open('a') as config:
        config.write("runner_type, env_cfg = 'FlexibleRunner', dict(cudnn_benchmark=False)\n")
        config.write("strategy = dict(type='SingleDeviceStrategy')\n")
    assert train(place, ONE) is None
    assert 'of another net (it says: of' in train(place, TWO, OTHER_NET, resume=True)
    assert train(place, TWO, resume=True) is None
    assert 'of another net (it says: of' in evaluate(place, OTHER_NET, checkpoint='work/iter_2.pth')


def test_a_config_that_resumes_is_tested(place):
    assert train(place, ONE) is None
    (place / 'work/iter_1.pth').rename(place / 'good.pth')
    assert evaluate(place, 'resume=True') is None
    assert 'nothing.pth does not exist' in evaluate(place, 'resume=True', checkpoint='nothing.pth')
    assert 'iter' not in text_of(place / 'work').split('Load checkpoint from')[-1]


def test_augmented_tests_and_partial_ones(place):
    assert train(place, ONE) is None
    tta = Config.fromfile(SHAPES).tta_pipeline
    with (place / 'config.py').open('a') as config:
        config.write(f'tta_pipeline = {tta!r}\n')
    command = [
        place / 'config.py',
        place / 'work/iter_1.pth',
        '--work-dir',
        place / 'work',
        '--tta',
    ]
    assert run_tool('test', *command) is None
    assert 'is of another net' in run_tool('test', *command, '--cfg-options', OTHER_NET)
    assert run_tool('test', *command, '--partial', '--cfg-options', OTHER_NET) is None
    assert '--partial: ' in text_of(place / 'work')


SEMANTIC_BOUNDARIES = """
model['auxiliary_head'] = [
    model['auxiliary_head'],
    dict(
        type='SemanticBoundaryHead',
        in_channels=[CHANNELS, 2 * CHANNELS, 8 * CHANNELS],
        num_classes=6,
    ),
]
"""


def test_a_net_trained_with_semantic_boundaries_is_tested_as_the_stock_net(place):
    """It has the same scores there."""
    stock = (place / 'config.py').read_text()
    channels = Config.fromfile(place / 'config.py').model.backbone.base_channels
    ours = stock + SEMANTIC_BOUNDARIES.replace('CHANNELS', str(channels))
    (place / 'config.py').write_text(ours)
    assert train(place, ONE) is None
    assert 'aux_1.loss_sbd_fuse: ' in text_of(place / 'work')
    (place / 'work/iter_1.pth').rename(place / 'good.pth')
    reports = []
    for text in (ours, stock):
        (place / 'config.py').write_text(text)
        assert evaluate(place) is None
        reports.append(json.loads((place / 'out.json').read_text())['metrics'])
    assert reports[0] == reports[1]
    assert 'tensors of the auxiliary heads (auxiliary_head.' in text_of(place / 'work')


def test_load_from_is_a_transfer_and_what_loss_balance_is_given_is_not(place):
    """A net with other heads begins with the backbone of another, as ever."""
    assert train(place, ONE) is None
    checkpoint = place / 'work/iter_1.pth'
    command = [place / 'config.py', '--batches', 1]
    options = ['--cfg-options', OTHER_NET]
    given = [*command[:1], checkpoint, *command[1:]]
    assert 'is of another net' in run_tool('loss_balance', *given, *options)
    assert run_tool('loss_balance', *given, '--partial', *options) is None
    assert run_tool('loss_balance', *command, *options, f'load_from={checkpoint}') is None
    assert run_tool('loss_balance', *given) is None
    checkpoint = checkpoint.rename(place / 'good.pth')
    assert train(place, ONE, OTHER_NET, f'load_from={checkpoint}') is None


def runner_that_resumes(folder, **settings):
    """Of one layer; `load_checkpoint` is the first thing that `resume` does."""
    runner = Runner(
        torch.nn.Linear(1, 1), str(folder), experiment_name='a', log_level='ERROR', **settings
    )
    watch_runner(runner, partial=False, resumes=True, updates_every=2)
    return runner


def progress(step):
    meta = dict(epoch=0, iter=step, config='raise SystemExit("this text was run")')
    weights = dict(weight=torch.ones(1, 1), bias=torch.ones(1))
    return dict(state_dict=weights, meta=meta, message_hub={}, optimizer={})


def test_a_checkpoint_between_two_updates_is_named(said, tmp_path):
    """Its gradients are lost: README names the exception."""
    runner = runner_that_resumes(tmp_path)
    runner.logger.setLevel('WARNING')
    runner.logger.addHandler(said.handler)
    for step, lost in ((4, False), (3, True)):
        said.clear()
        torch.save(progress(step), tmp_path / 'a.pth')
        runner.load_checkpoint(str(tmp_path / 'a.pth'))
        assert ('between two updates (iteration 3, accumulative_counts=2)' in said.text) is lost


def test_a_checkpoint_without_the_optimizer_is_named(said, tmp_path):
    """Such as the best, or with `save_optimizer=False`."""
    runner = runner_that_resumes(tmp_path)
    runner.logger.setLevel('WARNING')
    runner.logger.addHandler(said.handler)
    for content, lost in ((progress(4), False), (without(progress(4), 'optimizer'), True)):
        said.clear()
        torch.save(content, tmp_path / 'a.pth')
        runner.load_checkpoint(str(tmp_path / 'a.pth'))
        assert ('a.pth holds no state of the optimizer' in said.text) is lost


def test_the_config_in_a_checkpoint_is_not_run(tmp_path):
    """MMEngine runs it as Python when it resumes, to compare numbers of GPUs."""
    torch.save(progress(4), tmp_path / 'a.pth')
    safe_loading.install()
    checkpoint = runner_that_resumes(tmp_path).load_checkpoint(str(tmp_path / 'a.pth'))
    assert set(checkpoint['meta']) == {'epoch', 'iter', 'cfg'}


def test_the_config_that_a_file_of_mmsegmentation_0_names(tmp_path):
    """Its text, which is not run, is still read."""
    safe_loading.install()
    text = "work_dir = './work_dirs/pspnet_r50'\nraise SystemExit('this text was run')"
    torch.save(dict(meta=dict(config=text), state_dict={}), tmp_path / 'a.pth')
    path, model = str(tmp_path / 'a.pth'), torch.nn.Linear(1, 1)
    with pytest.raises(UnfitStart, match=r'\(it says: of pspnet_r50\)'):
        load_fully(lambda: load_checkpoint(model, path, 'cpu'), path, model, partial=False)


@pytest.mark.parametrize('lacks', ['meta', 'message_hub'])
def test_weights_alone_cannot_be_resumed(lacks, tmp_path):
    content = progress(4)
    del content[lacks]
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(UnfitStart, match='a.pth holds weights, but not how far .*load_from='):
        runner_that_resumes(tmp_path).load_checkpoint(str(tmp_path / 'a.pth'))

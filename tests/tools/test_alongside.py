"""The tools and switches of MMSegmentation and MMEngine, with our losses."""

import math
import sys

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmseg.registry import DATASETS

from tests.support.commands import MMSEG_TOOLS, SHAPES, run, train
from tests.support.logs import losses
from tests.support.skips import needs_gpu
from tests.support.tiny import batch_loss, build_tiny

SGD = ['optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.lr=0.1']
MMSEGS = MMSEG_TOOLS.parent / 'configs/_base_'


def test_analyze_logs_plots_our_keys(trained, tmp_path):
    (log,) = trained.glob('*/vis_data/scalars.json')
    run(
        sys.executable,
        MMSEG_TOOLS / 'analysis_tools/analyze_logs.py',
        log,
        '--keys',
        'decode.loss_epl',
        'mBoundaryF_3px',
        '--out',
        tmp_path / 'curves.png',
        MPLBACKEND='agg',
    )
    assert (tmp_path / 'curves.png').stat().st_size > 0


def test_tensorboard_shows_our_losses_and_metrics(trained, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ['visualizer.vis_backends.0.type=TensorboardVisBackend']
    options += ['val_evaluator.widths=[3,0.008]']
    options += ['default_hooks.checkpoint.save_best=mBoundaryF_0.008d']
    train(tmp_path, options=options)
    (best,) = tmp_path.glob('best_*.pth')
    assert best.name == 'best_mBoundaryF_0.008d_iter_4.pth'
    (events,) = tmp_path.glob('*/vis_data/events.out.tfevents.*')
    shown = EventAccumulator(str(events)).Reload()
    curve = {event.step: event.value for event in shown.Scalars('decode.loss_epl')}
    logged = {step: values['decode.loss_epl'] for step, values in losses(trained).items()}
    assert curve == pytest.approx(logged, rel=1e-5)
    assert {'mBoundaryF_3px', 'mBoundaryF_0.008d'} <= set(shown.Tags()['scalars'])


@needs_gpu
def test_amp_changes_the_losses_by_rounding_alone(trained, tmp_path):
    train(tmp_path, '--amp')
    rounded, exact = losses(tmp_path), losses(trained)
    assert rounded[1]['decode.loss_epl'] == pytest.approx(exact[1]['decode.loss_epl'], rel=0.02)
    assert all(math.isfinite(value) for step in rounded.values() for value in step.values())


def test_a_compiled_model_trains_like_an_eager_one(trained, tmp_path):
    options = ['compile.backend=aot_eager', 'train_cfg.max_iters=2']
    out = train(tmp_path, options=options, TORCHDYNAMO_DISABLE='0')
    assert 'Model has been "compiled"' in out
    compiled, eager = losses(tmp_path), losses(trained)
    assert set(compiled) == {1, 2}
    for step, values in compiled.items():
        assert values == pytest.approx(eager[step], rel=1e-4)


def test_accumulated_gradients_are_those_of_the_batches(tmp_path):
    """Two updates of two batches each: our losses are means of a batch, so that accumulation takes
    the mean of these."""
    start = tmp_path / 'start.pth'
    config, model = build_tiny()
    torch.save(dict(state_dict=model.state_dict()), start)
    train(tmp_path, options=[*SGD, 'optim_wrapper.accumulative_counts=2', f'load_from={start}'])

    dataset = DATASETS.build(config.train_dataloader.dataset)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    for first in (0, 4):
        optimizer.zero_grad()
        for pair in ((first, first + 1), (first + 2, first + 3)):
            batch_loss(model, [dataset[index] for index in pair]).div(2).backward()
        optimizer.step()
    trained = CheckpointLoader.load_checkpoint(str(tmp_path / 'iter_4.pth'), 'cpu')['state_dict']
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(trained[name], parameter.detach(), rtol=1e-4, atol=1e-6)


def test_averaged_weights_follow_the_trained_ones(tmp_path):
    """With the buffers too, of which our losses keep one that no checkpoint has."""
    config = tmp_path / 'averaged.py'
    config.write_text(
        f"_base_ = ['{SHAPES}']\n"
        'model = dict(decode_head=dict(loss_decode=[\n'
        "    dict(type='CrossEntropyLoss', avg_non_ignore=True),\n"
        "    dict(type='EPLLoss', mu=2, class_weight=[1, 1, 1, 1, 2, 3]),\n"
        ']))\n'
        "custom_hooks = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]\n"
    )
    train(tmp_path, config=config, options=['default_hooks.checkpoint.interval=1'])
    average = None
    for step in range(1, 5):
        checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / f'iter_{step}.pth'), 'cpu')
        # MMEngine stores the averaged weights as the model's.
        ema, raw = checkpoint['state_dict'], checkpoint['ema_state_dict']
        assert not any('loss' in name for name in (*ema, *raw))
        name = 'decode_head.conv_seg.weight'
        latest = raw[f'module.{name}']
        average = latest if average is None else average.lerp(latest, 0.5)
        torch.testing.assert_close(ema[name], average)
    assert (average - latest).abs().max() > 1e-5


def test_a_checkpoint_loads_strictly_where_we_cannot_be_imported(trained, tmp_path):
    """Into the stock network, with the predictions of ours."""
    stock = tmp_path / 'stock.py'
    stock.write_text(f"""
_base_ = ['{MMSEGS}/models/pspnet_r50-d8.py']
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(depth=18, stem_channels=16, base_channels=16),
    decode_head=dict(in_channels=128, channels=64, num_classes=6),
    auxiliary_head=dict(in_channels=64, channels=32, num_classes=6),
)
""")
    script = f"""
import sys
sys.modules['mmseg_boundary'] = None
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

register_all_modules()
model = MODELS.build(Config.fromfile('{stock}').model)
load_checkpoint(model, '{trained}/iter_4.pth', 'cpu', strict=True)
with torch.no_grad():
    logits = model.eval()(torch.load('{tmp_path}/images.pth'))
torch.save(logits, '{tmp_path}/logits.pth')
assert not any(name.startswith('mmseg_boundary.') for name in sys.modules)
"""
    torch.manual_seed(1)
    images = torch.randn(2, 3, 128, 128)
    torch.save(images, tmp_path / 'images.pth')
    # The frozen stack cannot read its own checkpoints under current torch without the switch.
    reading = dict(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1', TORCH_FORCE_WEIGHTS_ONLY_LOAD='0')
    run(sys.executable, '-c', script, **reading)
    _, model = build_tiny()
    load_checkpoint(model, str(trained / 'iter_4.pth'), 'cpu', strict=True)
    with torch.no_grad():
        assert torch.load(tmp_path / 'logits.pth').equal(model.eval()(images))

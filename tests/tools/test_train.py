"""tools/train.py and dist_train.sh as real processes."""

import os
import re
import runpy
import subprocess

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS

from mmseg_boundary import compiled
from tests.support.commands import LIMIT, ROOT, SHAPES, TINY, environment_for, free_port, run, train
from tests.support.logs import losses, scalars, text_of
from tests.support.skips import CAMVID, needs_camvid
from tests.support.small_run import train as train_here
from tests.support.small_run import write_config, write_data
from tests.support.tiny import batch_loss, build_tiny

DIST_TRAIN = ROOT / 'tools/dist_train.sh'


def test_it_logs_every_loss_and_validates(trained):
    steps = losses(trained)
    assert set(steps) == {1, 2, 3, 4}
    assert set(steps[1]) == {'loss', 'decode.loss_ce', 'decode.loss_epl', 'aux.loss_ce'}
    for values in steps.values():
        parts = sum(value for key, value in values.items() if key != 'loss')
        assert values['loss'] == pytest.approx(parts, abs=1e-3)
    assert 'mIoU' in scalars(trained)[-1]
    assert (trained / 'best_mBoundaryF_3px_iter_4.pth').is_file()


def test_its_log_is_the_first_that_it_says(trained):
    """What MMSegmentation says of itself while it is imported, or builds a head, is kept out."""
    said = (trained / 'said.txt').read_text()
    assert re.match(r'[\d/]+ [\d:]+ - mmengine - INFO - ', said), said[:500]
    assert 'would be deprecated soon, please use ``mmseg.registry' not in said


def test_a_resumed_run_goes_on_as_if_unbroken(trained, tmp_path):
    """Without anything random: MMEngine stores no random state."""
    (tmp_path / 'last_checkpoint').write_text(str(trained / 'iter_2.pth'))
    train(tmp_path, '--resume')
    resumed, unbroken = losses(tmp_path), losses(trained)
    assert set(resumed) == {3, 4}
    for step, values in resumed.items():
        assert values == pytest.approx(unbroken[step], rel=1e-5)


def test_two_ranks_average_the_gradients_of_their_halves(tmp_path):
    """What DDP means for our losses: each rank normalises by its own pixels, and BN by its own
    batch, so that one process that takes the halves apart reaches the same weights."""
    start, here = tmp_path / 'start.pth', tmp_path / 'here'
    here.mkdir()
    config, model = build_tiny()
    torch.save(dict(state_dict=model.state_dict()), start)
    out = run(
        'bash',
        DIST_TRAIN,
        SHAPES,
        2,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        *TINY,
        f'load_from={start}',
        'train_cfg.max_iters=3',
        'optim_wrapper.optimizer.type=SGD',
        'optim_wrapper.optimizer.lr=0.1',
        'train_cfg.val_interval=2',
        cwd=here,
        PORT=free_port(),
    )
    assert out.count('SyncBN runs as BN') == 1
    assert 'mIoU' in scalars(tmp_path / 'work')[-1] and not list(here.iterdir())
    assert not list(tmp_path.rglob('gathered*'))

    dataset = DATASETS.build(config.train_dataloader.dataset)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    for step in range(3):
        optimizer.zero_grad()
        # rank r of two takes every other image
        for rank in (0, 1):
            pair = [dataset[4 * step + rank], dataset[4 * step + rank + 2]]
            batch_loss(model, pair).div(2).backward()
        optimizer.step()
    path = tmp_path / 'work/iter_3.pth'
    trained = CheckpointLoader.load_checkpoint(str(path), 'cpu')['state_dict']
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(trained[name], parameter.detach(), rtol=1e-4, atol=1e-6)


def test_two_nodes_of_one_rank_each(tmp_path):
    port = free_port()
    nodes = [
        subprocess.Popen(
            [
                'bash',
                DIST_TRAIN,
                SHAPES,
                '1',
                '--work-dir',
                str(tmp_path / str(rank)),
                '--cfg-options',
                *TINY,
                'train_cfg.max_iters=2',
            ],
            cwd=ROOT,
            env=environment_for(
                NNODES='2', NODE_RANK=str(rank), MASTER_ADDR='127.0.0.1', PORT=port
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [node.communicate(timeout=LIMIT)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], '\n'.join(outputs)
    assert (tmp_path / '0/iter_2.pth').is_file()  # written by the first rank of all
    assert not (tmp_path / '1/iter_2.pth').exists()


# --- What is checked before -----------------------------------------------------------------------

# One logit, whose labels are 0 and 1.
ONE_LOGIT = [
    "train_dataloader.dataset.metainfo.classes=['ground','object']",
    "val_dataloader.dataset.metainfo.classes=['ground','object']",
    'model.decode_head.num_classes=2',
    'model.decode_head.out_channels=1',
    'model.decode_head.loss_decode.0.use_sigmoid=True',
]


def log_of(folder, *options):
    """What three iterations and a validation in this process log."""
    assert train_here(folder, *options) is None
    return text_of(folder / 'work')


@pytest.fixture
def on_disk(tmp_path):
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    return tmp_path


@pytest.mark.parametrize('num_classes', [6, 8])
def test_more_classes_than_the_data_set_is_one_warning(num_classes, on_disk):
    log = log_of(on_disk, f'model.decode_head.num_classes={num_classes}')
    said = f'WARNING - model.decode_head has num_classes={num_classes}, more than the 6 classes'
    assert log.count(said) == (num_classes != 6) and 'mIoU' in log


@pytest.mark.parametrize('value', [1, 255])
def test_masks_of_one_logit_are_0_and_1(value, on_disk):
    for name in 'ab':
        file = str(on_disk / f'data/labels/{name}.png')
        labels = cv2.imread(file, cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(file, ((labels > 0) * value).astype(np.uint8))
    log = log_of(on_disk, *ONE_LOGIT)
    said = 'WARNING - In the first 3 batches no label is 1, and some are 255'
    assert log.count(said) == (value == 255) and 'mIoU' in log


@needs_camvid
def test_camvid_trains_on_its_real_images(tmp_path):
    out = run(
        'python',
        'tools/train.py',
        'configs/pspnet_epl_camvid.py',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'train_cfg.max_iters=2',
        'default_hooks.logger.interval=1',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_cfg.val_interval=2',
        'val_dataloader.dataset.indices=4',
        CAMVID_ROOT=str(CAMVID),
    )
    assert 'mIoU' in out and losses(tmp_path)[1]['decode.loss_epl'] > 0


def test_a_training_compiles_from_its_first_call_and_waits_without_spinning(monkeypatch, capsys):
    """Before torch loads, which it does with the first import of ours."""
    monkeypatch.setattr(compiled, 'LARGE', 2**20)
    monkeypatch.setenv('OMP_WAIT_POLICY', '')  # so that it is put back
    monkeypatch.delenv('OMP_WAIT_POLICY')
    monkeypatch.setattr('sys.argv', ['train.py', '--help'])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert compiled.LARGE == 0 and os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'
    source = (ROOT / 'tools/train.py').read_text()
    assert source.index('OMP_WAIT_POLICY') < source.index('import mmseg_boundary')

    monkeypatch.setenv('OMP_WAIT_POLICY', 'ACTIVE')
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert os.environ['OMP_WAIT_POLICY'] == 'ACTIVE'

"""MIM, OpenMMLab's command line, of the maintained stack."""

from tests.support.commands import TINY, run
from tests.support.logs import losses


def test_mim_trains_a_config_of_ours(editable, tmp_path):
    """With the path, not the bare name: in a checkout MIM finds that twice (`.mim` links to it)."""
    checkout, python = editable
    run(
        python,
        '-m',
        'mim',
        'train',
        'mmseg_boundary',
        'configs/pspnet_epl_shapes.py',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *TINY,
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        cwd=checkout,
        PYTHONPATH='',
    )
    assert losses(tmp_path)[2]['decode.loss_epl'] > 0

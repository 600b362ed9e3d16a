"""The ranks' results are gathered beside the log."""

from pathlib import Path
from types import SimpleNamespace

from mmseg.registry import METRICS

from mmseg_boundary.cli.gathering import GatherInWorkFolder
from tests.support.forked import as_ranks
from tests.support.label_images import predict


def test_ranks_gather_beside_the_log(tmp_path, monkeypatch):
    """Two metrics, one of which gathers elsewhere by its own setting."""
    for name in ('here', 'log'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / 'here')

    def work(rank):
        metrics = [METRICS.build(dict(type='IoUMetric')) for _ in range(3)]
        metrics[1].collect_dir = str(tmp_path / 'elsewhere')

        loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=metrics))
        run = SimpleNamespace(log_dir=str(tmp_path / 'log'), val_loop=loop, test_loop=loop)
        for stage in ('before_train', 'before_val', 'before_test'):
            getattr(GatherInWorkFolder(), stage)(run)
        folders = [each.collect_dir for each in metrics]
        assert folders[1] == str(tmp_path / 'elsewhere') and len(set(folders)) == 3
        assert all(Path(folders[index]).parent == tmp_path / 'log' for index in (0, 2))
        for each in metrics:
            each.dataset_meta = dict(classes=('a', 'b', 'c'))
            predict(each, f'{rank}.png', label=rank)
            assert each.evaluate(2)['aAcc'] == 100

    assert as_ranks(2, work, tmp_path) == [True, True]
    assert not list((tmp_path / 'here').iterdir()) and not list((tmp_path / 'log').iterdir())

"""Gathers the ranks' results of an evaluation in the work folder."""

from pathlib import Path

from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .outputs import make_shared_folder


class GatherInWorkFolder(Hook):
    """Has the metrics gather the results of all ranks beside the log, where writing is tried before
    the first image. MMEngine's own way leaves a `.dist_test` in the current folder."""

    def before_train(self, runner: Runner) -> None:
        """Directs the metrics of the validations during training."""
        if runner.val_loop is not None:
            self._direct(runner, runner.val_loop.evaluator)

    def before_val(self, runner: Runner) -> None:
        """Directs the metrics of a validation alone."""
        self._direct(runner, runner.val_loop.evaluator)

    def before_test(self, runner: Runner) -> None:
        """Directs the metrics of a test."""
        self._direct(runner, runner.test_loop.evaluator)

    def _direct(self, runner: Runner, evaluator: Evaluator) -> None:
        metrics = [
            metric
            for metric in getattr(evaluator, 'metrics', ())
            if metric.collect_device == 'cpu' and metric.collect_dir is None
        ]
        if get_world_size() == 1 or not metrics:
            return
        folder = make_shared_folder(Path(runner.log_dir), 'gathered')
        if is_main_process():
            folder.rmdir()
        for index, metric in enumerate(metrics):
            # made where results are gathered, and removed again
            metric.collect_dir = f'{folder}.{index}'

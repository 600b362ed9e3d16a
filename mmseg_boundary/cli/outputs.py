"""Where a run writes: tried before the first image, the same for all ranks, and removed only where
the run itself made it."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from mmengine.dist import barrier, broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ..files import UnwrittenFile, named_if_unwritten


def require_folder(path: str | Path, what: str) -> None:
    """Tries whether `path` is, or can become, a folder to write to; makes nothing.

    Args:
        path: of the folder.
        what: how the message calls it, such as '--out'.

    Raises:
        UnwrittenFile: a part of the path is no folder, or nothing can be written there.
    """
    path = Path(path).resolve()
    place = _nearest(path)
    if not place.is_dir():
        _refuse(f'{what} has to be a folder, but {place} is not one. Name another place.')
    with named_if_unwritten(f'{what}, {path},', every_rank=False):
        tempfile.TemporaryFile(dir=place).close()


def require_file(path: str | Path, what: str) -> None:
    """Tries whether a file can be written, or replaced, at `path`; makes nothing.

    Raises:
        UnwrittenFile: something else than a file is there, or nothing can be written there.
    """
    path = Path(path).resolve()
    if os.path.exists(path) and not path.is_file():
        _refuse(f'{what} has to be a file, but {path} is not one. Name another place.')
    require_folder(path.parent, f'The folder of {what}')


def _nearest(path: Path) -> Path:
    """What there is of a path, as far as this process may see it."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def _refuse(sentence: str) -> NoReturn:
    raise UnwrittenFile(sentence, every_rank=False)


def make_shared_folder(parent: Path, name: str) -> Path:
    """A new folder NAME.….part in `parent` that is this run's alone: the first rank makes it.

    Raises:
        UnwrittenFile: on a rank that cannot write to it, such as one on a machine that does not
            share the disk.
    """
    folder = None
    if is_main_process():
        with named_if_unwritten(parent):
            folder = tempfile.mkdtemp(prefix=f'{name}.', suffix='.part', dir=parent)
    told = [folder]
    broadcast_object_list(told)
    folder = Path(told[0])
    if not folder.is_dir():
        raise UnwrittenFile(
            f'{folder}, which rank 0 has made, is not seen by rank {get_rank()}. Name a place that '
            'all machines share.'
        )
    with named_if_unwritten(folder):
        tempfile.TemporaryFile(dir=folder).close()
    barrier()
    return folder


@contextmanager
def filled_when_whole(folder: str | Path, metric: BaseMetric, dataset: Dataset) -> Iterator[None]:
    """Has `metric` write a label image of each image of `dataset`; they get into `folder` when all
    ranks have done their part.

    Until then they are in a folder of this run alone, NAME.….part beside `folder` or, where that is
    there, in it. An error removes it; a killed process leaves it.

    Args:
        folder: what it holds stays, but for images of the same names; made if there is none.
        metric: an `IoUMetric`, built.
        dataset: of the test.

    Raises:
        UnwrittenFile: two images would have one name, a label image could not be written, or some
            are missing in the end; those there are then stay where they are.
    """
    folder = Path(folder).resolve()
    count = _count_names(dataset)
    unfinished = make_shared_folder(_nearest(folder), folder.name)
    metric.output_dir = str(unfinished)
    process = metric.process

    def process_naming_the_folder(*given: object, **named: object) -> None:
        with named_if_unwritten(f'A label image for {folder}'):
            process(*given, **named)

    metric.process = process_naming_the_folder
    try:
        yield
        barrier()
    except BaseException:
        if is_main_process():
            # Another rank may still be writing.
            shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if is_main_process():
        _move(unfinished, folder, count)


def _move(unfinished: Path, folder: Path, count: int) -> None:
    written = sorted(unfinished.iterdir())
    if len(written) != count:
        raise UnwrittenFile(
            f'{unfinished} has {len(written)} label images, and the data set {count} images: they '
            f'stay there, and {folder} is as it was. The test loop or its sampler left images out, '
            'or a machine writes to a disk of its own.'
        )
    with named_if_unwritten(f'{folder}, for the label images that are in {unfinished},'):
        folder.mkdir(parents=True, exist_ok=True)
        for file in written:
            file.replace(folder / file.name)
    unfinished.rmdir()


def _count_names(dataset: Dataset) -> int:
    """How many label images there will be; `IoUMetric` names them after the image alone."""
    if not hasattr(dataset, 'get_data_info'):
        return len(dataset)
    # an image may come several times, as in a RepeatDataset
    paths = {dataset.get_data_info(index)['img_path'] for index in range(len(dataset))}
    names = Counter(Path(path).stem for path in paths)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        first, second = sorted(path for path in paths if Path(path).stem == twice[0])[:2]
        _refuse(
            f'--out names a label image after its image, and {first} and {second} would both get '
            f'{twice[0]}.png. Test their folders one by one, each with an --out of its own.'
        )
    return len(names)


class GatherInWorkFolder(Hook):
    """Has the metrics gather the results of all ranks beside the log, which is tried before the
    first image. MMEngine's own way leaves a `.dist_test` in the current folder."""

    def before_train(self, runner: Runner) -> None:
        """For the validations to come."""
        if runner.val_loop is not None:
            self._direct(runner, runner.val_loop.evaluator)

    def before_val(self, runner: Runner) -> None:
        """For a validation alone."""
        self._direct(runner, runner.val_loop.evaluator)

    def before_test(self, runner: Runner) -> None:
        """For a test."""
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

"""Moves the label images of `--out` into place when all are written."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.evaluator import BaseMetric
from torch.utils.data import Dataset

from .. import compat
from ..files import UnwrittenFile, named_if_unwritten
from .outputs import make_shared_folder, nearest, refuse


@contextmanager
def filled_when_complete(
    folder: str | Path, metric: BaseMetric, dataset: Dataset
) -> Iterator[None]:
    """Has `metric` write a label image of each image of `dataset`; moves them into `folder` when
    all ranks have done their part.

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
    unfinished = make_shared_folder(nearest(folder), folder.name)
    metric.output_dir = str(unfinished)

    def wrap(process: Callable[..., None]) -> Callable[..., None]:
        def process_naming_the_folder(*given: object, **named: object) -> None:
            with named_if_unwritten(f'A label image for {folder}'):
                process(*given, **named)

        return process_naming_the_folder

    compat.wrap_process(metric, wrap)
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
        refuse(
            f'--out names a label image after its image, and {first} and {second} would both get '
            f'{twice[0]}.png. Test their folders one by one, each with an --out of its own.'
        )
    return len(names)

"""What a run writes to: tried early, its own until it is whole, the same for all ranks."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmseg_boundary.cli.outputs import (
    GatherInWorkFolder,
    filled_when_whole,
    make_shared_folder,
    require_file,
    require_folder,
)
from mmseg_boundary.files import UnwrittenFile, atomic_write


class Images:
    """A data set, as far as its images' names matter."""

    def __init__(self, *paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


def metric():
    made = IoUMetric()
    made.dataset_meta = dict(classes=('a', 'b', 'c'))
    return made


def predict(metric, *paths, label=1):
    """One image of 4 x 4 pixels, all of which are said to be `label`."""
    for path in paths:
        pixels = torch.full((1, 4, 4), label)
        sample = dict(pred_sem_seg=dict(data=pixels), gt_sem_seg=dict(data=pixels), img_path=path)
        metric.process({}, [sample])


def files_in(folder):
    """{name below the folder: content}."""
    paths = [path for path in folder.rglob('*') if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def label_image(tmp_path_factory):
    """A function that says what the label image of a class is as a file."""

    def content(label):
        folder, one = tmp_path_factory.mktemp('one'), metric()
        one.output_dir = str(folder)
        predict(one, 'a.png', label=label)
        return (folder / 'a.png').read_bytes()

    return content


# --- Tried before the first image -----------------------------------------------------------------


def test_places_that_will_do(tmp_path):
    """Nothing is made by trying."""
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('1')
    (tmp_path / 'link').symlink_to(tmp_path / 'folder')
    (tmp_path / 'to nowhere').symlink_to(tmp_path / 'not yet')
    before = sorted(tmp_path.rglob('*'))
    for name in ('folder', 'link', 'new', 'new/and/deep', 'to nowhere', 'link/new'):
        require_folder(tmp_path / name, '--out')
        require_file(tmp_path / name / 'a.json', '--json')
    require_file(tmp_path / 'file', '--json')
    assert sorted(tmp_path.rglob('*')) == before and (tmp_path / 'file').read_text() == '1'


def test_places_that_will_not_do(tmp_path):
    (tmp_path / 'file').write_text('1')
    os.mkfifo(tmp_path / 'pipe')
    for name in ('file', 'file/below', 'file/far/below', 'pipe'):
        with pytest.raises(
            UnwrittenFile, match='^--out has to be a folder, but .*(file|pipe) is not one'
        ):
            require_folder(tmp_path / name, '--out')
    for name in ('.', 'pipe'):
        with pytest.raises(UnwrittenFile, match='^--json has to be a file, but .* is not one'):
            require_file(tmp_path / name, '--json')
    with pytest.raises(UnwrittenFile, match='^The folder of --json has to be a folder, but '):
        require_file(tmp_path / 'file/a.json', '--json')
    # whoever runs this
    for path in ('/proc', '/proc/new'):
        with pytest.raises(UnwrittenFile, match=f'^--out, {path}, could not be written: '):
            require_folder(path, '--out')
    with pytest.raises(UnwrittenFile, match='could not be written: '):
        require_file('/proc/a.json', '--json')


# --- Filled when whole ----------------------------------------------------------------------------


def test_what_the_run_did_not_make_stays(tmp_path, label_image):
    """Also what is called as an unfinished folder was, and files beside the label images."""
    (tmp_path / 'out.part').mkdir()
    for name in ('out.part/thesis.tex', 'out/a.png', 'out/notes.txt', 'out.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before, writer = files_in(tmp_path), metric()
    with filled_when_whole(tmp_path / 'out', writer, Images('x/a.jpg', 'x/b.jpg')):
        predict(writer, 'x/a.jpg', 'x/b.jpg')
        assert {key: value for key, value in files_in(tmp_path).items() if key in before} == before
    after = {'out/a.png': label_image(1), 'out/b.png': label_image(1)}
    assert files_in(tmp_path) == before | after
    assert len(writer.results) == 2


@pytest.mark.parametrize('is_there', [True, False])
def test_an_error_leaves_what_was_there(is_there, tmp_path):
    (tmp_path / 'out.part').write_text('mine')
    if is_there:
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out/a.png').write_text('before')
    before, writer = files_in(tmp_path), metric()
    with pytest.raises(ZeroDivisionError):
        with filled_when_whole(tmp_path / 'out', writer, Images('a.png', 'b.png')):
            predict(writer, 'a.png')
            raise ZeroDivisionError
    assert files_in(tmp_path) == before and (tmp_path / 'out').exists() is is_there


def test_two_runs_at_once(tmp_path, label_image):
    """Interleaved; every file is a whole one of the first or the second."""
    images = Images(*(f'{index}.png' for index in range(4)))
    first, second = metric(), metric()
    with filled_when_whole(tmp_path / 'out', first, images):
        predict(first, '0.png', '1.png', label=1)
        with filled_when_whole(tmp_path / 'out', second, images):
            predict(second, *images.paths, label=2)
        assert files_in(tmp_path / 'out') == dict.fromkeys(images.paths, label_image(2))
        predict(first, '2.png', '3.png', label=1)
    assert files_in(tmp_path) == {f'out/{name}': label_image(1) for name in images.paths}


def test_images_that_are_missing_in_the_end(tmp_path):
    """What there is stays, under another name."""
    writer = metric()
    with pytest.raises(UnwrittenFile, match='has 1 label images, and the data set 2') as caught:
        with filled_when_whole(tmp_path / 'out', writer, Images('a.png', 'b.png')):
            predict(writer, 'a.png')
    (path,) = files_in(tmp_path)
    assert not (tmp_path / 'out').exists() and path.endswith('.part/a.png')
    assert str(tmp_path / Path(path).parent) in str(caught.value)


def test_a_file_that_comes_in_the_way(tmp_path):
    """While the images are predicted: they are kept, and the message says where."""
    writer = metric()
    with pytest.raises(UnwrittenFile, match='/out, for the label images that are in (.*).part,'):
        with filled_when_whole(tmp_path / 'out', writer, Images('a.png')):
            predict(writer, 'a.png')
            (tmp_path / 'out').write_text('mine')
    assert (tmp_path / 'out').read_text() == 'mine'
    assert any(name.endswith('.part/a.png') for name in files_in(tmp_path))


def test_two_images_of_one_name(tmp_path):
    writer = metric()
    with pytest.raises(UnwrittenFile, match=r'^--out .* x/a.jpg and y/a.png would both get a.png'):
        with filled_when_whole(tmp_path / 'out', writer, Images('y/a.png', 'b.png', 'x/a.jpg')):
            raise AssertionError('too late')
    assert not files_in(tmp_path)
    # the same image twice, as a RepeatDataset has it
    with filled_when_whole(tmp_path / 'out', writer, Images('x/a.jpg', 'x/a.jpg')):
        predict(writer, 'x/a.jpg', 'x/a.jpg')
    assert list(files_in(tmp_path)) == ['out/a.png']


def test_a_data_set_that_tells_no_names(tmp_path):
    writer = metric()
    with filled_when_whole(tmp_path / 'out', writer, range(2)):
        predict(writer, 'a.png', 'b.png')
    assert len(files_in(tmp_path / 'out')) == 2


def test_a_full_disk(tmp_path):
    writer = metric()
    with pytest.raises(UnwrittenFile, match='A label image for .*/out could not .*No space left'):
        with filled_when_whole(tmp_path / 'out', writer, Images('a.png')):
            Path(writer.output_dir, 'a.png').symlink_to('/dev/full')
            predict(writer, 'a.png')
    assert not files_in(tmp_path) and not (tmp_path / 'out').exists()


def test_a_file_on_a_full_disk_is_not_there(tmp_path):
    """What was there stays, and an error that is no disk's stays what it is."""
    (tmp_path / 'a').write_text('before')
    for name in ('a', 'b'):
        (tmp_path / f'.{os.getpid()}.{name}').symlink_to('/dev/full')
        sentence = f'^{tmp_path}/{name} could not be written: No space left on device. Free some '
        with pytest.raises(UnwrittenFile, match=sentence):
            with atomic_write(tmp_path / name) as unfinished:
                unfinished.write_text('after')
    assert files_in(tmp_path) == {'a': b'before'}
    for error in (OSError('of no number'), ValueError()):
        with pytest.raises(type(error)) as caught, atomic_write(tmp_path / 'a'):
            raise error
        assert caught.value is error


# --- Several ranks --------------------------------------------------------------------------------


def as_ranks(ranks, work, folder):
    """Whether each of `ranks` children, of one group, comes to the end of `work(rank)`."""
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            try:
                torch.distributed.init_process_group(
                    'gloo', init_method=f'file://{folder}/group', rank=rank, world_size=ranks
                )
                work(rank)
                torch.distributed.barrier()
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
                os._exit(1)
        children.append(child)
    return [os.waitpid(child, 0)[1] == 0 for child in children]


def test_ranks_write_to_one_folder(tmp_path, label_image):
    """That the first of them makes, however late it comes; image 0 is repeated on the second."""
    images = Images('0.png', '1.png', '2.png')

    def work(rank):
        writer = metric()
        if rank == 0:
            time.sleep(0.5)
        with filled_when_whole(tmp_path / 'out', writer, images):
            predict(writer, *(('0.png', '2.png') if rank == 0 else ('1.png', '0.png')))
            if rank == 1:
                time.sleep(0.5)

    assert as_ranks(2, work, tmp_path) == [True, True]
    assert files_in(tmp_path / 'out') == dict.fromkeys(images.paths, label_image(1))
    assert not list(tmp_path.glob('*.part'))


def test_a_rank_that_does_not_see_the_folder(tmp_path, capfd):
    """As one on another machine, with a disk of its own."""

    def work(rank):
        if rank == 1:
            Path.is_dir = lambda path: False
        make_shared_folder(tmp_path, 'out')

    assert as_ranks(2, work, tmp_path)[1] is False
    assert 'is not seen by rank 1. Name a place that all machines share' in capfd.readouterr().err


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

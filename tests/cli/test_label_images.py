"""Label images get to their folder when all are there, and nothing else is touched."""

import time
from pathlib import Path

import pytest

from mmseg_boundary.cli.label_images import filled_when_complete
from mmseg_boundary.files import UnwrittenFile
from tests.support.forked import as_ranks
from tests.support.label_images import Images, files_in, metric, predict


@pytest.fixture
def label_image(tmp_path_factory):
    """A function that says what the label image of a class is as a file."""

    def content(label):
        folder, one = tmp_path_factory.mktemp('one'), metric()
        one.output_dir = str(folder)
        predict(one, 'a.png', label=label)
        return (folder / 'a.png').read_bytes()

    return content


def test_what_the_run_did_not_make_stays(tmp_path, label_image):
    """Also what is called as an unfinished folder was, and files beside the label images."""
    (tmp_path / 'out.part').mkdir()
    for name in ('out.part/thesis.tex', 'out/a.png', 'out/notes.txt', 'out.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before, writer = files_in(tmp_path), metric()
    with filled_when_complete(tmp_path / 'out', writer, Images('x/a.jpg', 'x/b.jpg')):
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
        with filled_when_complete(tmp_path / 'out', writer, Images('a.png', 'b.png')):
            predict(writer, 'a.png')
            raise ZeroDivisionError
    assert files_in(tmp_path) == before and (tmp_path / 'out').exists() is is_there


def test_two_runs_at_once(tmp_path, label_image):
    """Interleaved; every file is a complete one of the first or the second run."""
    images = Images(*(f'{index}.png' for index in range(4)))
    first, second = metric(), metric()
    with filled_when_complete(tmp_path / 'out', first, images):
        predict(first, '0.png', '1.png', label=1)
        with filled_when_complete(tmp_path / 'out', second, images):
            predict(second, *images.paths, label=2)
        assert files_in(tmp_path / 'out') == dict.fromkeys(images.paths, label_image(2))
        predict(first, '2.png', '3.png', label=1)
    assert files_in(tmp_path) == {f'out/{name}': label_image(1) for name in images.paths}


def test_images_that_are_missing_in_the_end(tmp_path):
    """What there is stays, under another name."""
    writer = metric()
    with pytest.raises(UnwrittenFile, match='has 1 label images, and the data set 2') as caught:
        with filled_when_complete(tmp_path / 'out', writer, Images('a.png', 'b.png')):
            predict(writer, 'a.png')
    (path,) = files_in(tmp_path)
    assert not (tmp_path / 'out').exists() and path.endswith('.part/a.png')
    assert str(tmp_path / Path(path).parent) in str(caught.value)


def test_a_file_that_comes_in_the_way(tmp_path):
    """While the images are predicted: they are kept, and the message says where."""
    writer = metric()
    with pytest.raises(UnwrittenFile, match='/out, for the label images that are in (.*).part,'):
        with filled_when_complete(tmp_path / 'out', writer, Images('a.png')):
            predict(writer, 'a.png')
            (tmp_path / 'out').write_text('mine')
    assert (tmp_path / 'out').read_text() == 'mine'
    assert any(name.endswith('.part/a.png') for name in files_in(tmp_path))


def test_two_images_of_one_name(tmp_path):
    writer = metric()
    with pytest.raises(UnwrittenFile, match=r'^--out .* x/a.jpg and y/a.png would both get a.png'):
        with filled_when_complete(tmp_path / 'out', writer, Images('y/a.png', 'b.png', 'x/a.jpg')):
            raise AssertionError('too late')
    assert not files_in(tmp_path)
    # the same image twice, as a RepeatDataset has it
    with filled_when_complete(tmp_path / 'out', writer, Images('x/a.jpg', 'x/a.jpg')):
        predict(writer, 'x/a.jpg', 'x/a.jpg')
    assert list(files_in(tmp_path)) == ['out/a.png']


def test_a_data_set_that_tells_no_names(tmp_path):
    writer = metric()
    with filled_when_complete(tmp_path / 'out', writer, range(2)):
        predict(writer, 'a.png', 'b.png')
    assert len(files_in(tmp_path / 'out')) == 2


def test_a_full_disk(tmp_path):
    writer = metric()
    with pytest.raises(UnwrittenFile, match='A label image for .*/out could not .*No space left'):
        with filled_when_complete(tmp_path / 'out', writer, Images('a.png')):
            Path(writer.output_dir, 'a.png').symlink_to('/dev/full')
            predict(writer, 'a.png')
    assert not files_in(tmp_path) and not (tmp_path / 'out').exists()


def test_ranks_write_to_one_folder(tmp_path, label_image):
    """That the first of them makes, however late it comes; image 0 is repeated on the second."""
    images = Images('0.png', '1.png', '2.png')

    def work(rank):
        writer = metric()
        if rank == 0:
            time.sleep(0.5)
        with filled_when_complete(tmp_path / 'out', writer, images):
            predict(writer, *(('0.png', '2.png') if rank == 0 else ('1.png', '0.png')))
            if rank == 1:
                time.sleep(0.5)

    assert as_ranks(2, work, tmp_path) == [True, True]
    assert files_in(tmp_path / 'out') == dict.fromkeys(images.paths, label_image(1))
    assert not list(tmp_path.glob('*.part'))

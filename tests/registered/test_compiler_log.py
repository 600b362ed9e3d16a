"""That losses run uncompiled is in the log of a training, and not on stderr alone."""

import pytest
import torch
from mmengine.logging import MMLogger

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.losses import compiled


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """Every kernel fails with words of several lines; the first call of a probe, too."""

    def compile(kernel, **options):
        def fails(*args):
            raise RuntimeError('no more variants\nof a kernel')

        return fails

    monkeypatch.setattr(torch, 'compile', compile)
    forgotten = compiled.compiled, compiled._can_compile
    for each in forgotten:
        each.cache_clear()
    yield
    for each in forgotten:
        each.cache_clear()


@pytest.fixture
def start(tmp_path):
    """Makes the log of a training, as Runner does, and gives its path."""
    before = dict(MMLogger._instance_dict)

    def make(name):
        path = tmp_path / f'{name}.log'
        MMLogger.get_instance(str(path), log_file=str(path))
        return path

    yield make
    MMLogger._instance_dict.clear()
    MMLogger._instance_dict.update(before)


def lines_about(path, words):
    return [line for line in path.read_text().splitlines() if words in line]


def test_a_kernel_that_cannot_be_compiled_is_one_line_of_the_log(start):
    path = start('training')
    for number, kernel in enumerate((lambda x: 2 * x, lambda x: 3 * x)):
        run = compiled.compiled(kernel, number)
        with pytest.warns(UserWarning, match='given up'):
            run(torch.ones(2))
        run(torch.ones(2))
    (line,) = lines_about(path, 'compiling')
    assert 'WARNING - torch has given up compiling <lambda> (RuntimeError: no more var' in line
    assert line.endswith('variants). From here on it runs as it stands, several times slower.')


def test_each_training_has_the_line(start):
    """Another one in the same process, with a kernel of its own."""
    paths = []
    for name in ('first', 'second'):
        paths.append(start(name))
        with pytest.warns(UserWarning, match='given up'):
            compiled.compiled(lambda x: x, name)(torch.ones(2))
    assert [len(lines_about(path, 'given up')) for path in paths] == [1, 1]


def test_a_machine_without_a_compiler_is_one_line_of_the_log(start, monkeypatch):
    path = start('training')
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.delenv('TORCHDYNAMO_DISABLE', raising=False)
    loss = mmseg_boundary.losses.EPLLoss(kernel_size=3)
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    with pytest.warns(UserWarning, match='does not work here'):
        loss(logits, torch.zeros(1, 8, 8, dtype=torch.long)).backward()
    (line,) = lines_about(path, 'compile')
    assert 'WARNING - torch.compile does not work here (RuntimeError), so the losses run' in line


@pytest.mark.parametrize('words, said', [('', '(RuntimeError)'), ('a\nb', '(RuntimeError: a)')])
def test_an_error_may_have_no_words_or_many(words, said, monkeypatch):
    def fails(*args):
        raise RuntimeError(words)

    monkeypatch.setattr(torch, 'compile', lambda kernel, **options: fails)
    with pytest.warns(UserWarning) as caught:
        assert compiled.compiled(lambda x: 2 * x, words)(torch.ones(1)).item() == 2
    assert f'compiling <lambda> {said}. From' in str(caught[0].message)

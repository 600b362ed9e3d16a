"""What losses say of their compilation is in the log of a training."""

import pytest
import torch
from mmengine.logging import MMLogger

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import compiled
from mmseg_boundary.losses import blocks


@pytest.fixture
def no_compiler(monkeypatch):
    """Every kernel fails with words of several lines; the first call of a probe, too."""

    def compile(kernel, **options):
        def fails(*args):
            raise RuntimeError('no more variants\nof a kernel')

        return fails

    monkeypatch.setattr(torch, 'compile', compile)


@pytest.fixture(autouse=True)
def nothing_compiled():
    def forget():
        blocks.compiled_forms.clear()
        for each in (compiled.compiled, compiled._can_compile):
            each.cache_clear()

    forget()
    yield
    forget()


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


@pytest.mark.usefixtures('no_compiler')
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


@pytest.mark.usefixtures('no_compiler')
def test_each_training_has_the_line(start):
    """Another one in the same process, with a kernel of its own."""
    paths = []
    for name in ('first', 'second'):
        paths.append(start(name))
        with pytest.warns(UserWarning, match='given up'):
            compiled.compiled(lambda x: x, name)(torch.ones(2))
    assert [len(lines_about(path, 'given up')) for path in paths] == [1, 1]


@pytest.mark.usefixtures('no_compiler')
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


def compile_nothing(monkeypatch):
    """As if every kernel were compiled, in no time."""
    monkeypatch.setattr(torch, 'compile', lambda kernel, **options: kernel)
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.delenv('TORCHDYNAMO_DISABLE', raising=False)


def step(*shape, dtype=torch.float32):
    logits = torch.zeros(shape, dtype=dtype, requires_grad=True)
    labels = torch.arange(logits[:, 0].numel()).reshape(logits[:, 0].shape) % 2
    mmseg_boundary.losses.EPLLoss(kernel_size=3)(logits, labels).backward()


def test_a_compilation_is_announced_once_in_each_training(start, monkeypatch):
    """Before it begins, with the sizes of the batch; both terms compile, and larger images anew."""
    compile_nothing(monkeypatch)
    path = start('training')
    begun = []
    compiling = blocks._compile
    monkeypatch.setattr(
        blocks, '_compile', lambda *form: (begun.append(path.read_text()), compiling(*form))
    )
    step(2, 3, 8, 9)
    step(1, 3, 80, 90)
    step(2, 3, 8, 9)
    assert len(begun) == 4 and all('EPL compiles' in text for text in begun)
    (line,) = lines_about(path, 'compiles')
    assert line.endswith(' - INFO - EPL compiles its kernels for 2×3×8×9, some seconds')
    again = start('another')
    step(2, 3, 8, 9)
    assert not lines_about(again, 'compiles')  # it has them already
    step(2, 3, 8, 9, dtype=torch.float64)
    assert len(lines_about(again, 'for 2×3×8×9, some')) == 1


def test_what_is_not_compiled_is_not_announced(start, monkeypatch):
    compile_nothing(monkeypatch)
    path = start('training')
    step(0, 3, 8, 9)
    monkeypatch.setattr(compiled, 'LARGE', 2**20)
    step(2, 3, 8, 9)
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.setenv('TORCHDYNAMO_DISABLE', '1')
    step(2, 3, 8, 9)
    assert not lines_about(path, 'compiles')


def test_the_announcement_does_not_hide_the_warning(start, monkeypatch):
    """Both are in the log of a training that begins to compile and cannot."""
    compile_nothing(monkeypatch)
    path = start('training')
    assert compiled.is_compiled(torch.zeros(2, 3, 8, 9))

    def compile(kernel, **options):
        def fails(*args):
            raise RuntimeError('no room')

        return fails

    monkeypatch.setattr(torch, 'compile', compile)
    with pytest.warns(UserWarning, match='given up'):
        step(2, 3, 8, 9)
    assert len(lines_about(path, 'EPL compiles')) == len(lines_about(path, 'given up')) == 1


@pytest.mark.parametrize('words, said', [('', '(RuntimeError)'), ('a\nb', '(RuntimeError: a)')])
def test_an_error_may_have_no_words_or_many(words, said, monkeypatch):
    def fails(*args):
        raise RuntimeError(words)

    monkeypatch.setattr(torch, 'compile', lambda kernel, **options: fails)
    with pytest.warns(UserWarning) as caught:
        assert compiled.compiled(lambda x: 2 * x, words)(torch.ones(1)).item() == 2
    assert f'compiling <lambda> {said}. From' in str(caught[0].message)

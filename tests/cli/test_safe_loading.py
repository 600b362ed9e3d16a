"""Checkpoints of others run nothing, whichever way our tools read them; honest ones go on."""

import copy
import json
import os
import pickle
import pickletools
import sys
import threading
import zipfile
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from torch._weights_only_unpickler import _get_user_allowed_globals

from mmseg_boundary.cli import safe_loading
from mmseg_boundary.cli.errors import plain_errors
from tests.support import hostile
from tests.support.commands import ROOT, SHAPES, run, sentence
from tests.support.hostile import Touch

# As MMEngine 0.10.4 wrote it with NumPy 1.26: three steps of two curves, one of a third.
OLD = Path(__file__).with_name('mmengine-0.10.4_numpy-1.26.pth')

ALLOWED = {
    'mmengine.logging.history_buffer.HistoryBuffer': safe_loading._History,
    'builtins.getattr': safe_loading._statistic,
    'numpy.ndarray': safe_loading._Array,
    'numpy.dtype': safe_loading._DType,
    'numpy._core.multiarray._reconstruct': safe_loading._new_array,
    'numpy._core.multiarray.scalar': safe_loading._scalar,
    'numpy.core.multiarray._reconstruct': safe_loading._new_array,
    'numpy.core.multiarray.scalar': safe_loading._scalar,
}


def load(path):
    return CheckpointLoader.load_checkpoint(str(path), 'cpu')


def attack(folder, *kinds, **environment):
    """What became of each kind of file, and of an honest one, by each path."""
    path = str(ROOT)
    run(
        sys.executable,
        '-m',
        'tests.support.hostile',
        folder,
        *kinds,
        cwd=folder,
        PYTHONPATH=path,
        **environment,
    )
    return json.loads((folder / 'said.json').read_text())


# --- Every kind by every path, one process each ---------------------------------------------------


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('hostile')


@pytest.fixture(scope='module')
def attacked(folder):
    return attack(folder, *hostile.KINDS)


def test_nothing_is_added_at_import(attacked):
    """To torch's list or the environment; by `registered` and by `cli`."""
    assert attacked['by_import'] == []


def test_no_file_runs_its_code(attacked):
    assert len(attacked['outcomes']) == 1 + len(hostile.PATHS) * (1 + len(hostile.KINDS)) + 1
    assert attacked['touched'] == []


@pytest.mark.parametrize('kind', hostile.KINDS)
@pytest.mark.parametrize('path', hostile.PATHS)
def test_a_hostile_file_is_refused_in_a_sentence(path, kind, attacked):
    outcome = attacked['outcomes'][f'{path}_{kind}'.replace(' ', '_')]
    assert outcome['said'].count('\n') == 0
    assert 'cannot be read as tensors and plain values' in outcome['said']
    assert outcome['left'] == []


@pytest.mark.parametrize('path', hostile.PATHS)
def test_each_path_reads_with_our_list_alone(path, attacked):
    outcome = attacked['outcomes'][f'{path}_honest']
    assert outcome['said'] is None and outcome['left'] == []
    expected = {name: f'{it.__module__}.{it.__qualname__}' for name, it in ALLOWED.items()}
    assert outcome['lists'] == [expected]


def test_a_config_in_a_checkpoint_is_no_code_to_run(attacked):
    """MMEngine runs `meta.config`, which its own files do not have, when it resumes."""
    assert attacked['outcomes']['--resume_config']['said'] is None


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(16))
def test_no_order_of_names_lets_a_file_run_its_code(seed, tmp_path):
    attacked = attack(tmp_path, 'getattr', 'eval', PYTHONHASHSEED=str(seed))
    assert attacked['touched'] == [] and len(attacked['outcomes']) == 2 + 3 * len(hostile.PATHS)


@pytest.mark.parametrize('kind', hostile.KINDS)
def test_the_files_above_run_their_code_without_care(kind, tmp_path, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    path, marker = tmp_path / 'bad.pth', tmp_path / 'touched'
    hostile.KINDS[kind](path, marker)
    with suppress(Exception):  # what comes after the code may fail
        torch.hub.load_state_dict_from_url(path.as_uri(), tmp_path / 'hub', weights_only=False)
    assert marker.exists()


def test_the_config_above_is_run_without_care(tmp_path, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    path = tmp_path / 'bad.pth'
    hostile.write_config_text(path, hostile.make_folder(tmp_path / 'touched'), OLD)
    Config.fromstring(torch.load(path, weights_only=False)['meta']['config'], '.py')
    assert (tmp_path / 'touched').exists()
    meta = load(path)['meta']
    assert 'config' not in meta and meta['iter'] == 3 and meta['cfg']


def test_a_real_getattr_under_our_name_makes_no_difference(tmp_path):
    """Whoever put it on torch's list; there it is again afterwards."""
    hostile.KINDS['getattr'](tmp_path / 'bad.pth', tmp_path / 'touched')
    with torch.serialization.safe_globals([getattr, HistoryBuffer]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(pickle.UnpicklingError):
            load(tmp_path / 'bad.pth')
        assert set(torch.serialization.get_safe_globals()) == before
        assert not (tmp_path / 'touched').exists()
        torch.load(tmp_path / 'bad.pth', weights_only=True)  # what that list is worth
        assert (tmp_path / 'touched').exists()


# --- What a stand-in takes ------------------------------------------------------------------------


class Pickled:
    """An object that is written as a call and a state."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def history(**changes):
    state = dict(max_length=9, _log_history=np.ones(2), _count_history=np.ones(2))
    return Pickled(HistoryBuffer, (), {**state, **changes})


def dtype(code='f8', state=(3, '<', None, None, None, -1, -1, 0)):
    return Pickled(np.dtype, (code, False, True), state)


def array(shape=(2,), kind=None, data=b'\0' * 16, owner=np.ndarray):
    make, (_, *arguments), _ = np.ones(2).__reduce__()
    return Pickled(make, (owner, *arguments), (1, shape, kind or dtype(), False, data))


record = (3, '|', None, ('a',), {'a': (np.dtype('f8'), 0)}, 8, 1, 0)
make_scalar = np.float64(1).__reduce__()[0]
REFUSED = {
    'two dimensions': np.ones((2, 2)),
    'no dimension': np.array(1.0),
    'objects': np.array([None]),
    'texts': np.array(['a']),
    'dates': np.zeros(1, 'M8[s]'),
    'complex numbers': np.zeros(1, complex),
    'extended precision': np.zeros(1, np.longdouble),
    'records': np.zeros(1, [('a', float)]),
    'a foreign byte order': np.zeros(1, np.dtype(float).newbyteorder()),
    'a dtype that becomes a record': array(kind=dtype(state=record)),
    'a dtype that becomes one of objects': array(kind=dtype(state=(*record[:7], 63))),
    'a dtype that claims to hold objects': array(kind=dtype(state=(*dtype().reduced[2][:7], 63))),
    'a dtype that is not one': array(kind=dtype(code='O')),
    'a dtype with a tensor as its state': dtype(state=torch.ones(3)),
    'more elements than bytes': array(shape=(3,)),
    'fewer elements than bytes': array(shape=(1,)),
    'a negative length': array(shape=(-1,)),
    'a length that is a tensor': array(shape=(torch.tensor(2),)),
    'a list for bytes': array(data=[1.0, 2.0]),
    'another owner': array(owner=np.dtype),
    'an array without elements': Pickled(*array().reduced[:2]),
    'a scalar of objects': Pickled(make_scalar, (dtype(code='O'), b'\0' * 8)),
    'a scalar that is too short': Pickled(make_scalar, (dtype(), b'\0')),
    'a history without a state': Pickled(HistoryBuffer, ()),
    'a history with an attribute': history(extra=1),
    'a history that says how it is built': history(__setstate__=Pickled(make_scalar, ())),
    'a history of a list': history(_log_history=[1.0, 2.0]),
    'a history with more counts': history(_count_history=np.ones(3)),
    'a history of no length': history(max_length=0),
    'a history with a statistic of another': history(
        statistics_methods=dict(mean=HistoryBuffer.min)
    ),
    'a history with one more statistic': history(statistics_methods=dict(mine=HistoryBuffer.min)),
    'a history with a call as a statistic': history(statistics_methods=dict(mean=OrderedDict)),
    'another method': Pickled(getattr, (HistoryBuffer, 'update')),
    'all methods': Pickled(getattr, (HistoryBuffer, '__dict__')),
    'a statistic of an array': Pickled(getattr, (np.ndarray, 'mean')),
    'what a statistic has': Pickled(getattr, (HistoryBuffer.mean, '__globals__')),
    'a name that is no text': Pickled(getattr, (HistoryBuffer, ['mean'])),
    'the same name twice': Pickled(getattr, (HistoryBuffer, 'mean', None)),
    'a slice': slice(1),
    'a class of ours': HistoryBuffer,
    'a function': [np.float64(1).__reduce__()[0]],
    'a method': (HistoryBuffer.mean,),
    'a class as a key': {HistoryBuffer: 1},
    'a class in a set': {HistoryBuffer},
}


@pytest.mark.parametrize('content', REFUSED.values(), ids=REFUSED)
def test_what_is_refused(content, tmp_path):
    torch.save(dict(state_dict={}, meta=dict(a=content)), tmp_path / 'bad.pth')
    methods = dict(HistoryBuffer._statistics_methods)
    with pytest.raises(SystemExit, match='bad.pth cannot be read as tensors and plain values'):
        with plain_errors(Config(dict(model={}, load_from=str(tmp_path / 'bad.pth')))):
            load(tmp_path / 'bad.pth')
    assert HistoryBuffer._statistics_methods == methods


def test_what_is_too_deep_is_refused(tmp_path):
    for name, nested in (
        ('lists', pickle.EMPTY_LIST * 9999 + pickle.APPEND * 9998),
        ('tuples', pickle.NONE + pickle.TUPLE1 * 9999),
    ):
        hostile.write_zip(tmp_path / name, hostile.pickled(nested))
        with pytest.raises(pickle.UnpicklingError, match=f'{name} is refused: .* recursion depth'):
            load(tmp_path / name)


@pytest.mark.parametrize('content', [torch.ones(3), [1], None])
def test_what_is_no_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError, match='a.pth is refused: it is no dict'):
        load(tmp_path / 'a.pth')


@pytest.mark.parametrize('kind', ['tensor', 'parameter'])
def test_an_attribute_of_a_tensor_is_checked(kind, tmp_path):
    """And so are its hooks, which the next backward pass would call."""
    tensor = torch.ones(2) if kind == 'tensor' else torch.nn.Parameter(torch.ones(2))
    tensor.numbers = [np.arange(3)]
    torch.save(dict(meta=tensor), tmp_path / 'a.pth')
    (numbers,) = load(tmp_path / 'a.pth')['meta'].numbers
    assert type(numbers) is np.ndarray
    tensor.numbers = [getattr]
    torch.save(dict(meta=tensor), tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError, match='as a value'):
        load(tmp_path / 'a.pth')
    del tensor.numbers
    hooked = Pickled(torch._utils._rebuild_parameter, (torch.ones(2), True, {0: getattr}))
    torch.save(dict(meta=hooked), tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError, match='as a value'):
        load(tmp_path / 'a.pth')


@pytest.mark.parametrize('hidden', ['dict', 'attribute', 'tuple', 'list'])
def test_nothing_of_ours_is_left_wherever_it_stands(hidden, tmp_path):
    numbers = np.arange(3)
    if hidden == 'attribute':
        content = OrderedDict()
        content.numbers = numbers
    else:
        content = dict(dict=Counter(a=numbers), tuple=([numbers], numbers), list=[(1, numbers)])
        content = content[hidden]
    torch.save(dict(meta=dict(first=content, again=content)), tmp_path / 'a.pth')
    meta = load(tmp_path / 'a.pth')['meta']
    assert meta['first'] is meta['again']
    found = list(objects_in(meta))
    assert any(type(each) is np.ndarray and each.tolist() == [0, 1, 2] for each in found)
    assert not [each for each in found if type(each).__module__.startswith('mmseg_boundary')]


def test_a_loop_ends(tmp_path):
    loop = dict(numbers=np.arange(3))
    loop['loop'] = [loop]
    torch.save(dict(meta=loop), tmp_path / 'a.pth')
    meta = load(tmp_path / 'a.pth')['meta']
    assert meta['loop'][0] is meta and type(meta['numbers']) is np.ndarray


@pytest.mark.parametrize('kind', [bool, *'bhilBHILefd'])
def test_arrays_and_scalars_of_native_types_are_what_they_were(kind, tmp_path):
    numbers = np.arange(4).astype(kind)
    torch.save(dict(meta=dict(all=numbers, one=numbers[1])), tmp_path / 'a.pth')
    meta = load(tmp_path / 'a.pth')['meta']
    for given, read in ((numbers, meta['all']), (numbers[1], meta['one'])):
        assert type(read) is type(given) and read.dtype == given.dtype
        assert read.tolist() == given.tolist()
    meta['all'][0] = 1  # can be written to


# --- Honest files ---------------------------------------------------------------------------------


def objects_in(node):
    """Everything that a checkpoint consists of, once for each place."""
    yield node
    parts = []
    if isinstance(node, dict):
        parts = [*node.keys(), *node.values()]
    elif isinstance(node, (list, tuple, set)):
        parts = node
    for part in [*parts, *getattr(node, '__dict__', {}).values()]:
        yield from objects_in(part)


def test_a_file_of_an_old_mmengine_with_numpy_1(tmp_path):
    names = names_in(OLD)
    assert 'numpy.core.multiarray _reconstruct' in names
    checkpoint = load(OLD)
    assert checkpoint['meta']['mmengine_version'] == '0.10.4'
    assert checkpoint['state_dict']['weight'].tolist() == [0, 1]
    hub = MessageHub('of_an_old_run')
    hub.load_state_dict(checkpoint['message_hub'])
    hub.update_scalar('train/loss', 0.0)
    loss = hub.get_scalar('train/loss')
    assert loss.data[0].tolist() == [3, 2, 1, 0] and loss.statistics('mean', 2) == 0.5
    assert hub.get_info('best') == np.float32(0.25) and hub.get_info('seen').tolist() == [0, 1, 2]
    torch.save(hub.state_dict(), tmp_path / 'new.pth')
    assert 'numpy._core.multiarray _reconstruct' in names_in(tmp_path / 'new.pth')


def test_what_is_read_consists_of_others_types():
    of = {type(each).__module__.split('.')[0] for each in objects_in(load(OLD))}
    assert of <= {'builtins', 'collections', 'torch', 'numpy', 'mmengine'}


def names_in(path):
    """What a checkpoint asks for by name."""
    with zipfile.ZipFile(path) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith('/data.pkl')]
        data = archive.read(member)
    return {argument for code, argument, _ in pickletools.genops(data) if code.name == 'GLOBAL'}


def test_a_resumed_run_goes_on_and_names_nothing_of_ours(attacked, folder):
    first = folder / 'first run/work/iter_1.pth'
    second = folder / '--resume_honest/work/iter_2.pth'
    assert names_in(second) == names_in(first)
    assert not any('mmseg_boundary' in name for name in names_in(second))
    curves = [load(path)['message_hub']['log_scalars'] for path in (first, second)]
    for name in ('train/loss', 'train/decode.loss_epl'):
        logs, counts = curves[1][name].data
        assert type(curves[1][name]) is HistoryBuffer and len(logs) == len(counts) == 2
        assert logs[0] == curves[0][name].data[0].item() and logs[1] != logs[0]


def test_two_files_one_after_the_other_and_a_copy(tmp_path):
    first, second = load(OLD), load(OLD)
    for checkpoint in (first, copy.deepcopy(second)):
        curve = checkpoint['message_hub']['log_scalars']['train/loss']
        assert curve.statistics('max') == 3 and type(curve) is HistoryBuffer
    torch.save(second, tmp_path / 'again.pth')
    assert load(tmp_path / 'again.pth')['meta'] == first['meta']


def test_a_url_after_a_local_file(tmp_path, monkeypatch):
    """Which torch.hub reads."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    handler = partial(SimpleHTTPRequestHandler, directory=OLD.parent)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/{OLD.name}'
        local, remote, again = load(OLD), load(address), load(address)  # downloaded, and at hand
        server.shutdown()
    assert local['meta'] == remote['meta'] == again['meta']
    assert remote['message_hub']['log_scalars'].keys() == {'train/loss', 'train/lr', 'train/acc'}


def test_the_list_during_a_load_and_after_it(monkeypatch):
    before = set(torch.serialization.get_safe_globals())
    seen, read = [], torch.load
    monkeypatch.setattr(
        torch, 'load', lambda *a, **o: (seen.append(_get_user_allowed_globals()), read(*a, **o))[1]
    )
    load(OLD)
    load(OLD)
    assert seen == [ALLOWED, ALLOWED]
    assert set(torch.serialization.get_safe_globals()) == before


def test_threads_do_not_take_the_list_from_each_other():
    before = set(torch.serialization.get_safe_globals())
    with ThreadPoolExecutor(8) as threads:
        for checkpoint in threads.map(load, [OLD] * 80):
            assert checkpoint['meta']['iter'] == 3
    assert set(torch.serialization.get_safe_globals()) == before


# --- A torch without a list -----------------------------------------------------------------------


@pytest.mark.parametrize('version, refused', [('2.5.1+cu121', True), ('2.6.0', False)])
def test_an_old_torch_reads_no_checkpoint(version, refused, monkeypatch):
    monkeypatch.setattr(torch, '__version__', version)
    if not refused:
        assert load(OLD)
        return
    with pytest.raises(SystemExit) as end:
        with plain_errors(Config(dict(model={}))):
            load(OLD)
    assert "refused. Update torch: pip install -U 'torch>=2.6'" in end.value.code
    assert str(OLD) in end.value.code and os.linesep not in end.value.code


# --- Through a tool, and by itself ----------------------------------------------------------------


@pytest.mark.parametrize('switch', [{}, {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}])
def test_a_checkpoint_with_code_is_refused(switch, tmp_path):
    """Also for those who once told torch to load everything."""
    torch.save(dict(state_dict={}, meta=Touch(tmp_path / 'touched')), tmp_path / 'bad.pth')
    tool = ROOT / 'tools/test.py'
    said = sentence(tool, SHAPES, tmp_path / 'bad.pth', '--work-dir', tmp_path, **switch)
    assert 'bad.pth cannot be read as tensors and plain values' in said
    assert not (tmp_path / 'touched').exists()


@pytest.mark.parametrize('form', ['zip', 'legacy', 'bare pickle'])
def test_a_checkpoint_with_code_is_refused_in_every_form(form, tmp_path):
    content = dict(state_dict={}, meta=Touch(tmp_path / 'touched'))
    if form == 'bare pickle':
        (tmp_path / 'bad.pth').write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / 'bad.pth', _use_new_zipfile_serialization=form == 'zip')
    config = Config(dict(model={}, load_from=str(tmp_path / 'bad.pth')))
    with pytest.raises(SystemExit, match='bad.pth cannot be read as tensors and plain values'):
        with plain_errors(config):
            CheckpointLoader.load_checkpoint(str(tmp_path / 'bad.pth'), 'cpu')
    assert not (tmp_path / 'touched').exists()


def test_the_pickle_of_the_test_above_works(tmp_path):
    pickle.loads(pickle.dumps(Touch(tmp_path / 'touched')))
    assert (tmp_path / 'touched').exists()


@pytest.mark.parametrize('name', ['__init__', '__class__'])
def test_the_loader_fetches_nothing_but_statistics(name):
    """MMEngine's history is pickled with `getattr`, which fetches anything else as well."""
    from mmengine.logging import HistoryBuffer

    history = safe_loading._History
    assert safe_loading._statistic(history, 'mean') is HistoryBuffer.mean
    for owner in (history, HistoryBuffer, os):
        with pytest.raises(pickle.UnpicklingError, match='is refused'):
            safe_loading._statistic(owner, name)

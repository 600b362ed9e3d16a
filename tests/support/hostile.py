"""Checkpoints that run code when they are read unsafely, and ways in which our tools read them.

`python -m tests.support.hostile FOLDER KIND…` runs each of our tools on a file of each of these
kinds, and on an honest one, and writes the outcomes to FOLDER/said.json. Its processes are forked,
since importing MMSegmentation takes longer than all that they do.
"""

import gc
import importlib
import io
import json
import os
import pickle
import pkgutil
import shutil
import signal
import struct
import sys
import tarfile
import traceback
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

HISTORY = ('mmengine.logging.history_buffer', 'HistoryBuffer')


def text(value):
    encoded = value.encode()
    return pickle.BINUNICODE + struct.pack('<I', len(encoded)) + encoded


def name(module, attribute):
    return pickle.GLOBAL + f'{module}\n{attribute}\n'.encode()


def pickled(content, key='meta'):
    """{key: content} with the opcodes that torch's own unpickler knows."""
    parts = (pickle.PROTO, b'\2', pickle.EMPTY_DICT, text(key), content, pickle.SETITEM)
    return b''.join([*parts, pickle.STOP])


def call(module, attribute, argument):
    return pickled(name(module, attribute) + text(argument) + pickle.TUPLE1 + pickle.REDUCE)


def chain(code):
    """Gets from a HistoryBuffer and `getattr` to `eval`: the globals of a method, and what they
    name, become attributes of an instance; the last one is the `__setstate__` of the next BUILD."""
    memo = b'\0'
    getattr_, instance = name('__builtin__', 'getattr'), pickle.BINGET + memo

    def get(owner, attribute):
        return getattr_ + owner + text(attribute) + pickle.TUPLE2 + pickle.REDUCE

    return pickled(
        b''.join(
            [
                name(*HISTORY), pickle.EMPTY_TUPLE, pickle.NEWOBJ, pickle.BINPUT, memo,
                get(get(name(*HISTORY), '__init__'), '__globals__'), pickle.BUILD,
                get(instance, '__builtins__'), pickle.BUILD,
                pickle.EMPTY_DICT, text('__setstate__'), get(instance, 'eval'), pickle.SETITEM,
                pickle.BUILD, text(code), pickle.BUILD,
            ]
        )
    )  # fmt: skip


def write_zip(path, data, **records):
    """A checkpoint in torch's current format with this pickle."""
    writer = torch._C.PyTorchFileWriter(str(path))
    for record, content in {'data.pkl': data, 'byteorder': b'little', **records}.items():
        writer.write_record(record, content, len(content))
    writer.write_end_of_file()


def write_tar(path, data):
    with tarfile.open(path, 'w:', format=tarfile.PAX_FORMAT) as tar:
        for member in ('storages', 'tensors', 'pickle'):
            header = tarfile.TarInfo(member)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def write_nested_zip(path, data):
    """A file that torch.hub unpacks and whose single member it reads."""
    with zipfile.ZipFile(path, 'w') as outer:
        outer.writestr(f'inner_of_{path.name}', data)


def write_config_text(path, code, honest):
    """A checkpoint with a harmless pickle and a text that MMEngine runs as the run's config."""
    content = torch.load(honest, weights_only=False)
    content['meta']['config'] = code
    torch.save(content, path)


def make_folder(marker):
    return f'__import__("os").mkdir({str(marker)!r})'


def evaluate(marker):
    return call('__builtin__', 'eval', make_folder(marker))


KINDS = {
    'os.system': lambda path, marker: write_zip(path, call('os', 'system', f'mkdir {marker}')),
    'posix.system': lambda path, marker: write_zip(
        path, call('posix', 'system', f'mkdir {marker}')
    ),
    'eval': lambda path, marker: write_zip(path, evaluate(marker)),
    'getattr': lambda path, marker: write_zip(path, chain(make_folder(marker))),
    'bare pickle': lambda path, marker: path.write_bytes(evaluate(marker)),
    'tar': lambda path, marker: write_tar(path, evaluate(marker)),
    'nested zip': lambda path, marker: write_nested_zip(path, evaluate(marker)),
}
PATHS = ('test.py', 'URL', '--resume', 'load_from', 'Pretrained', 'loss_balance.py')


class Touch:
    """An object whose pickle makes a folder when it is loaded unsafely."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


# --- The program ----------------------------------------------------------------------------------


def read_by(path, checkpoint, address, folder):
    """The end of a tool that is made to read this checkpoint: its sentence, or None."""
    from tests.support.small_run import run_tool, write_config, write_data

    write_data(folder / 'data')
    write_config(folder)
    arguments = [folder / 'config.py', '--work-dir', folder / 'work']
    if path == 'test.py':
        return run_tool('test', arguments[0], checkpoint, *arguments[1:])
    if path == 'URL':
        return run_tool('test', arguments[0], f'{address}/{checkpoint.name}', *arguments[1:])
    if path == '--resume':
        (folder / 'work').mkdir()
        (folder / 'work/last_checkpoint').write_text(str(checkpoint))
        arguments.append('--resume')
    option = f'{"load_from" if path == "load_from" else "model.pretrained"}={checkpoint}'
    if path == 'loss_balance.py':
        return run_tool('loss_balance', arguments[0], '--batches', 1, '--cfg-options', option)
    # A resumed run goes on for one iteration after the first.
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=9']
    options += [option] if path in ('load_from', 'Pretrained') else []
    return run_tool('train', *arguments, '--cfg-options', *options)


def write_honest(folder):
    from tests.support.small_run import train, write_config, write_data

    write_data(folder / 'data')
    write_config(folder)
    return train(folder, 'train_cfg.max_iters=1', 'train_cfg.val_interval=9')


def watch_lists(seen):
    """Makes torch.load append {name: object}, the names that it allows in a file, to `seen`."""
    load = torch.load

    def watched(*args, **options):
        names = torch._weights_only_unpickler._get_user_allowed_globals()
        seen.append({name: f'{it.__module__}.{it.__qualname__}' for name, it in names.items()})
        return load(*args, **options)

    torch.load = watched


def start(folder, run):
    """A process that writes the end of `run(folder)`, the lists of allowed names, and what was left
    of them to FOLDER/said.json."""
    folder.mkdir()
    child = os.fork()
    if child:
        return child
    try:
        os.chdir(folder)
        log = os.open('log.txt', os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        lists, before = [], torch.serialization.get_safe_globals()
        watch_lists(lists)
        try:
            said = run(folder)
        except BaseException:
            said = traceback.format_exc()
        outcome = dict(said=said, lists=lists, left=by_others(before))
        (folder / 'said.json').write_text(json.dumps(outcome))
    finally:
        os._exit(0)


def by_others(before):
    """How torch's list differs from `before`, without what torch's own modules add."""
    changed = set(torch.serialization.get_safe_globals()) ^ set(before)
    return [str(it) for it in changed if not getattr(it, '__module__', '').startswith('torch.')]


@contextmanager
def served(folder):
    """The address of a server of these files, which runs in a process of its own."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    process = os.fork()
    if process == 0:
        server.serve_forever()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def warm_up():
    """Does once what every run would do again. It is no run, which would install the patches that
    the runs have to install themselves."""
    import matplotlib.pyplot  # noqa: F401

    from tests.support.small_run import small_net

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports torch's compiler
    small_net()
    gc.freeze()


def main():
    folder, kinds = Path(sys.argv[1]), sys.argv[2:]
    import mmseg.apis  # noqa: F401

    torch.set_num_threads(1)
    before, environment = torch.serialization.get_safe_globals(), dict(os.environ)
    import mmseg_boundary.cli
    import mmseg_boundary.registered  # noqa: F401

    for module in pkgutil.iter_modules(mmseg_boundary.cli.__path__):
        importlib.import_module(f'mmseg_boundary.cli.{module.name}')
    by_import = [*by_others(before), *(environment.items() ^ os.environ.items())]
    warm_up()
    os.environ['TORCH_HOME'] = str(folder / 'hub')
    files = folder / 'files'
    files.mkdir()
    os.waitpid(start(folder / 'first run', write_honest), 0)
    honest = folder / 'first run/work/iter_1.pth'
    cases = [(path, kind) for path in PATHS for kind in ('honest', *kinds)]
    cases += [('--resume', 'config')]
    with served(files) as address:
        for first in range(0, len(cases), 2):
            children = []
            for path, kind in cases[first : first + 2]:
                name = f'{path} {kind}'.replace(' ', '_')
                checkpoint, marker = files / f'{name}.pth', folder / f'touched_by_{name}'
                if kind == 'honest':
                    shutil.copy(honest, checkpoint)
                elif kind == 'config':
                    write_config_text(checkpoint, make_folder(marker), honest)
                else:
                    KINDS[kind](checkpoint, marker)
                read = partial(read_by, path, checkpoint, address)
                children.append(start(folder / name, read))
            for child in children:
                os.waitpid(child, 0)
    found = dict(
        by_import=by_import,
        touched=sorted(each.name for each in folder.glob('touched_by_*')),
        outcomes={
            each.parent.name: json.loads(each.read_text()) for each in folder.glob('*/said.json')
        },
    )
    (folder / 'said.json').write_text(json.dumps(found))


if __name__ == '__main__':
    main()

"""`python -m mmseg_boundary.check`: what is installed and registered, and what keeps it from
working, each problem with the command that fixes it. The exit status is 1 if there is one.

Modules of a project may be named too: they are imported as `custom_imports` would, and checked
for names that both they and this package register.

Everything is imported by name, so that a missing or broken package is one of the findings.
"""

import argparse
import io
import os
import platform
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module, metadata, util
from pathlib import Path

import mmseg_boundary

STACKS = {'onedl': 'onedl, the maintained continuation', 'mmlab': 'mmlab, the frozen originals'}
PARTS = {
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
}
TESTED = {
    'onedl': {
        'mmengine': 'onedl-mmengine==0.10.12',
        'mmcv': 'onedl-mmcv==2.3.6',
        'mmseg': 'onedl-mmsegmentation==1.4.2',
    },
    'mmlab': {
        'mmengine': 'mmengine==0.10.7',
        'mmcv': 'mmcv==2.1.0',
        'mmseg': 'mmsegmentation==1.2.2',
    },
}
# Where a distribution has another name than its module.
DISTRIBUTIONS = {'cv2': 'opencv-python', 'PIL': 'pillow', 'yaml': 'pyyaml'}
KINDS = {
    'metric': 'metrics',
    'hook': 'hooks',
    'dataset': 'data sets',
    'transform': 'transforms',
}
TAKEN = ' is already registered in '  # MMEngine's words


@dataclass
class Findings:
    """Facts are (name, value), problems (sentence, command that fixes it)."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def fact(self, name: str, value: str) -> None:
        """Adds something to know."""
        self.facts.append((name, value))

    def problem(self, sentence: str, command: str) -> None:
        """Adds something to fix; once, where one command fixes several things."""
        if all(command != known for _, known in self.problems):
            self.problems.append((sentence, command))


def look(modules: Sequence[str] = ()) -> Findings:
    """All findings; checks that need something broken are left out."""
    found = Findings()
    found.fact(
        'mmseg_boundary', f'{mmseg_boundary.__version__} ({Path(mmseg_boundary.__file__).parent})'
    )
    found.fact('python', f'{platform.python_version()} ({sys.executable})')
    has_torch = _look_at_torch(found)
    _look_at_distances(found)
    for module in PARTS:
        found.fact(module, _provider(module))
    stack = _look_at_stack(found) if has_torch else None
    if stack is not None and _look_at_operators(found, stack):
        _look_at_stock_configs(found, stack)
        _look_at_names(found, stack, modules)
    return found


def _look_at_torch(found: Findings) -> bool:
    try:
        torch = import_module('torch')
    except ImportError as error:
        found.fact('torch', 'missing')
        found.problem(f'torch cannot be imported: {error}', 'pip install torch')
        return False
    found.fact('torch', torch.__version__)
    if tuple(map(int, torch.__version__.split('.')[:2])) < (2, 6):
        found.problem(
            f'torch {torch.__version__} reads checkpoints without `weights_only`: one with code in '
            'it would run it, so that our tools read none.',
            "pip install -U 'torch>=2.6'",
        )
    count, built = torch.cuda.device_count(), torch.version.cuda
    if torch.cuda.is_available():
        names = ', '.join(torch.cuda.get_device_name(place) for place in range(count))
        found.fact('CUDA', f'{built} ({names})')
    else:
        found.fact('CUDA', f'no device; torch is built for {f"CUDA {built}" if built else "CPUs"}')
    return True


def _look_at_distances(found: Findings) -> None:
    engines = []
    for module, name in (('cv2', 'OpenCV'), ('scipy', 'scipy')):
        try:
            engines.append(f'{name} {import_module(module).__version__}')
        except ImportError:
            if module == 'scipy':
                found.problem(
                    'scipy cannot be imported; chessboard and taxicab distances need it, and where '
                    'OpenCV is missing all distances on the CPU.',
                    'pip install scipy',
                )
    found.fact('distances', engines[0] if engines else 'missing')


def _provider(module: str) -> str:
    installed = [f'{name} {version}' for name, version in _distributions(PARTS[module])]
    if installed:
        return ' and '.join(installed)
    spec = util.find_spec(module)
    return 'missing' if spec is None else f'a checkout ({spec.origin})'


def _look_at_stack(found: Findings) -> str | None:
    try:
        stack = import_module('mmseg_boundary.stacks').installed_stack()
        for module in PARTS:
            import_module(module)
    except Exception as error:
        found.fact('stack', 'broken')
        continued = any(_distributions(names[:1]) for names in PARTS.values())
        _explain(found, error, 'onedl' if continued else 'mmlab')
        return None
    found.fact('stack', STACKS[stack])
    return stack


def _look_at_operators(found: Findings, stack: str) -> bool:
    """Whether MMSegmentation works with the operators that are installed."""
    if not import_module('mmseg_boundary.stacks').has_compiled_operators():
        found.fact('operators', 'not compiled (PSANet and CCNet need them)')
        if stack == 'mmlab':
            found.problem(
                "This MMSegmentation cannot be imported without mmcv's compiled operators.",
                _reinstall(stack, 'mmcv'),
            )
        return stack != 'mmlab'
    try:
        import_module('mmcv._ext')
    except ImportError as error:
        found.fact('operators', 'compiled, but broken')
        found.problem(
            f"mmcv's operators do not load; they were compiled for another torch: {error}",
            _reinstall(stack, 'mmcv'),
        )
        return False
    found.fact('operators', 'compiled')
    return True


def _look_at_stock_configs(found: Findings, stack: str) -> None:
    folder = Path(import_module('mmseg').__file__).parent / '.mim/configs'
    found.fact('mmseg::', str(folder) if folder.is_dir() else 'missing')
    if not folder.is_dir():
        found.problem(
            f'{folder} does not exist, where `mmseg::` in `_base_` looks for the stock configs; an '
            'editable installation of MMSegmentation leaves them out.',
            _reinstall(stack, 'mmseg'),
        )


def _look_at_names(found: Findings, stack: str, modules: Sequence[str]) -> None:
    try:
        import_module('mmseg_boundary.registered')
        ours = list(_our_names())
        import_module('mmseg.utils').register_all_modules(init_default_scope=False)
    except Exception as error:
        _explain(found, error, stack)
        return
    for module in modules:
        try:
            import_module(module)
        except Exception as error:
            _explain(found, error, stack, module)
    kinds = {kind: [] for kind in ('losses', *KINDS.values(), 'models')}
    for registry, name, registered in ours:
        kinds[_kind(registry.name, registered)].append(name)
        holder = registry.module_dict[name]
        if holder is not registered:
            _conflict(found, stack, name, sys.modules[holder.__module__].__file__)
    for kind, names in kinds.items():
        found.fact(kind, ', '.join(sorted(names)) or 'none')


def _our_names() -> Iterator[tuple]:
    """(registry, name, class) of everything of this package in MMSegmentation's registries."""
    Registry = import_module('mmengine.registry').Registry
    for registry in vars(import_module('mmseg.registry')).values():
        for name, held in registry.module_dict.items() if isinstance(registry, Registry) else ():
            if held.__module__.startswith('mmseg_boundary.'):
                yield registry, name, held


def _kind(registry: str, registered: type) -> str:
    places = ('mmseg_boundary.losses.', 'mmseg_boundary.registered.loss_wrapper')
    is_loss = any(each.__module__.startswith(places) for each in registered.__mro__)
    return KINDS.get(registry, 'losses' if is_loss else 'models')


def _conflict(found: Findings, stack: str, name: str, file: str) -> None:
    sentence = f'{file} registers {name}, a name that mmseg_boundary has too.'
    if f'{os.sep}mmseg{os.sep}' in file:
        found.problem(f'{sentence} The tested versions do not.', _reinstall(stack, *PARTS))
    else:
        found.problem(
            f'{sentence} Rename it there, and in the configs that use it.',
            f"sed -i 's/\\b{name}\\b/My{name}/g' {file}",
        )


def _explain(found: Findings, error: Exception, stack: str, module: str | None = None) -> None:
    """Adds the problem behind the error of an import, of `module` where one was named."""
    said = f'{type(error).__name__}: {error}'
    if hasattr(error, 'command'):  # an UnfitInstallation, raised by the import of `stacks`
        found.problem(f'{error.problem}.', error.command)
    elif isinstance(error, KeyError) and TAKEN in str(error):
        name, _, place = error.args[0].partition(TAKEN)
        holder = place.rpartition(' at ')[2]
        ours_came_first = holder.startswith('mmseg_boundary.')
        file = _registering_file(error) if ours_came_first else sys.modules[holder].__file__
        _conflict(found, stack, name, file)
    elif isinstance(error, ModuleNotFoundError) and error.name == module:
        found.problem(
            f'{module} is not on the path.',
            f'PYTHONPATH=/path/to/it python -m mmseg_boundary.check {module}',
        )
    elif isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition('.')[0]
        found.problem(
            f'{missing} is missing: {_importer(error)} imports it.',
            f'pip install {DISTRIBUTIONS.get(missing, missing)}',
        )
    elif isinstance(error, ImportError) and 'libGL' in said:
        found.problem(
            f'OpenCV looks for a screen: {error}.',
            'pip uninstall -y opencv-python && pip install opencv-python-headless',
        )
    elif module is not None:
        found.problem(f'{module} cannot be imported. {said}', f'python -c "import {module}"')
    else:
        found.problem(
            f'MMSegmentation cannot be imported; the tested versions can. {said}',
            _reinstall(stack, *PARTS),
        )


def _importer(error: Exception) -> str:
    files = [each.filename for each in traceback.extract_tb(error.__traceback__)]
    return [name for name in files if not name.startswith('<frozen')][-1]


def _registering_file(error: Exception) -> str:
    files = [each.filename for each in traceback.extract_tb(error.__traceback__)]
    return [name for name in files if f'{os.sep}mmengine{os.sep}' not in name][-1]


def _distributions(names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, version) of those that are installed."""
    found = []
    for name in names:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def _reinstall(stack: str, *parts: str) -> str:
    pins = ' '.join(TESTED[stack][part] for part in parts)
    if 'mmcv' not in parts:
        return f'pip install --force-reinstall --no-deps {pins}'
    # mmcv's operators are compiled if torch is in sight, and its 2.1.0 wants pkg_resources.
    setuptools = "'setuptools<81'" if stack == 'mmlab' else 'setuptools'
    return (
        f'pip install {setuptools} wheel ninja psutil && '
        f'pip install --force-reinstall --no-deps --no-build-isolation --no-cache-dir {pins}'
    )


def _print(found: Findings) -> None:
    width = max(len(name) for name, _ in found.facts) + 2
    for name, value in found.facts:
        print(_wrapped(value, name.ljust(width), ' ' * width))
    for sentence, command in found.problems:
        print(f'\n{_wrapped(sentence, "PROBLEM  ", " " * 9)}\n  fix:  {command}')
    if not found.problems:
        print('\nNo problems.')


def _wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(
        text,
        100,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if there is a problem."""
    parser = argparse.ArgumentParser(
        prog='python -m mmseg_boundary.check', description=__doc__.partition(': ')[2]
    )
    parser.add_argument(
        'modules', nargs='*', metavar='MODULE', help="of your project's custom_imports"
    )
    modules = parser.parse_args(arguments).modules
    # What the stacks print while they are imported is not a finding.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        found = look(modules)
    _print(found)
    return 1 if found.problems else 0


if __name__ == '__main__':
    sys.exit(main())

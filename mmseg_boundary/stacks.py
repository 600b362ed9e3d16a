"""Which of the two OpenMMLab stacks is installed; `compat` has what differs between them.

`onedl` is the maintained continuation (onedl-mmengine, onedl-mmcv, onedl-mmsegmentation), `mmlab`
the frozen originals (mmengine, mmcv, mmsegmentation). Both have the same import names, so only one
of them can be installed. Importing this module checks that.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from .requirements import UnfitInstallation, require_torch

MODULES = {'mmengine': 'mmengine', 'mmcv': 'mmcv', 'mmseg': 'mmsegmentation'}
MINIMUM_VERSIONS = {'mmengine': '0.10.4', 'mmcv': '2.0.0', 'mmseg': '1.2.0'}


def installed_stack() -> str:
    """The stack that provides MMSegmentation here: 'onedl' or 'mmlab'.

    A checkout on PYTHONPATH has no distribution and counts as 'mmlab', whose names it bears.

    Raises:
        UnfitInstallation: both stacks or none are installed, or torch or a part of the stack is
            missing or too old.
    """
    missing = [module for module in MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise UnfitInstallation(
            f'mmseg_boundary.registered needs MMSegmentation, but {", ".join(missing)} cannot be '
            f'imported. Install one stack{_where()}',
            _installation(),
        )
    originals = [name for name in MODULES.values() if _is_distribution(name)]
    continued = [f'onedl-{name}' for name in MODULES.values() if _is_distribution(f'onedl-{name}')]
    if originals and continued:
        raise UnfitInstallation(
            f'Both OpenMMLab stacks are installed ({", ".join(continued + originals)}) and '
            f"overwrite each other's files. Remove all of them, then install one{_where()}",
            f'pip uninstall -y {" ".join(continued + originals)} && {_installation()}',
        )
    require_torch()
    stack = 'onedl' if continued else 'mmlab'
    _require_minimum_versions('onedl-' if stack == 'onedl' else '')
    return stack


def has_compiled_operators() -> bool:
    """Whether mmcv's compiled operators are there: PSANet and CCNet cannot be built without."""
    return importlib.util.find_spec('mmcv._ext') is not None


def _installation() -> str:
    """The command that installs the maintained stack: in a clone by its extra, which whoever has
    a wheel cannot name without a folder."""
    if _is_clone():
        return "pip install -e '.[onedl]'"
    return f'pip install {" ".join(f"onedl-{name}" for name in MODULES.values())}'


def _where() -> str:
    if _is_clone():
        return ", in this package's folder (or, for the frozen originals, '.[mmlab]')"
    return ''


def _is_clone() -> bool:
    return Path(__file__).parents[1].joinpath('pyproject.toml').is_file()


def _is_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _require_minimum_versions(prefix: str) -> None:
    # Minima alone: an upper bound would refuse the very releases that fix things.
    from mmengine.utils import digit_version

    for module, minimum in MINIMUM_VERSIONS.items():
        version = importlib.import_module(module).__version__
        if digit_version(version) < digit_version(minimum):
            raise UnfitInstallation(
                f'mmseg_boundary needs {module} {minimum} or newer, but {version} is installed',
                f"pip install -U '{prefix}{MODULES[module]}>={minimum}'",
            )


STACK = installed_stack()

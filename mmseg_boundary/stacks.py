"""Which of the two OpenMMLab stacks is installed; `compat` has what differs between them.

`onedl` is the maintained continuation (onedl-mmengine, onedl-mmcv, onedl-mmsegmentation), `mmlab`
the frozen originals (mmengine, mmcv, mmsegmentation). Both have the same import names, so only one
of them can be installed. Importing this module checks that.
"""

import importlib.metadata
import importlib.util

MODULES = {'mmengine': 'mmengine', 'mmcv': 'mmcv', 'mmseg': 'mmsegmentation'}
MINIMUM_VERSIONS = {'mmengine': '0.10.4', 'mmcv': '2.0.0', 'mmseg': '1.2.0'}


class UnfitStack(RuntimeError):
    """What is wrong with the installed stack, and the command that fixes it.

    Not an ImportError: MMEngine replaces those by one that hides the message.
    """

    def __init__(self, problem: str, command: str) -> None:
        super().__init__(f'{problem}: {command}')
        self.problem = problem
        self.command = command


def installed_stack() -> str:
    """The stack that provides MMSegmentation here: 'onedl' or 'mmlab'.

    A checkout on PYTHONPATH has no distribution and counts as 'mmlab', whose names it bears.

    Raises:
        UnfitStack: both stacks or none are installed, or a part of the one is too old.
    """
    missing = [module for module in MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise UnfitStack(
            f'mmseg_boundary.registered needs MMSegmentation, but {", ".join(missing)} cannot be '
            "imported. Install one stack, in this package's folder (or, for the frozen originals, "
            "'.[mmlab]')",
            "pip install -e '.[onedl]'",
        )
    originals = [name for name in MODULES.values() if _is_distribution(name)]
    continued = [f'onedl-{name}' for name in MODULES.values() if _is_distribution(f'onedl-{name}')]
    if originals and continued:
        raise UnfitStack(
            f'Both OpenMMLab stacks are installed ({", ".join(continued + originals)}) and '
            "overwrite each other's files. Remove all of them, then install one",
            f"pip uninstall -y {' '.join(continued + originals)} && pip install -e '.[onedl]'",
        )
    stack = 'onedl' if continued else 'mmlab'
    _require_minimum_versions('onedl-' if stack == 'onedl' else '')
    return stack


def has_compiled_operators() -> bool:
    """Whether mmcv's compiled operators are there: PSANet and CCNet cannot be built without."""
    return importlib.util.find_spec('mmcv._ext') is not None


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
            raise UnfitStack(
                f'mmseg_boundary needs {module} {minimum} or newer, but {version} is installed',
                f"pip install -U '{prefix}{MODULES[module]}>={minimum}'",
            )


STACK = installed_stack()

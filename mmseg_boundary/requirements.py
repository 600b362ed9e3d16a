"""The oldest torch that the package runs with, and the error of an installation that is unfit."""

import re

MINIMUM_TORCH = '2.1'


class UnfitInstallation(RuntimeError):
    """What is wrong with the installation, and the command that fixes it.

    Not an ImportError: MMEngine replaces those by one that hides the message.
    """

    def __init__(self, problem: str, command: str) -> None:
        super().__init__(f'{problem}: {command}')
        self.problem = problem
        self.command = command


def require_torch() -> None:
    """Raises an UnfitInstallation where torch is missing, or older than `MINIMUM_TORCH`."""
    try:
        import torch
    except ImportError as error:
        raise UnfitInstallation(
            f'torch cannot be imported ({error})', 'pip install torch'
        ) from error
    if release(torch.__version__) < release(MINIMUM_TORCH):
        raise UnfitInstallation(
            f'mmseg_boundary needs torch {MINIMUM_TORCH} or newer, but {torch.__version__} is '
            'installed',
            f"pip install -U 'torch>={MINIMUM_TORCH}'",
        )


def release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version.

    >>> release('2.10.0a0+git1234')
    (2, 10)
    """
    return tuple(map(int, re.findall(r'\d+', version)[:2]))

"""Arguments of which few values are allowed."""

from collections.abc import Iterable


def require_choice(name: str, given: object, allowed: Iterable[object]) -> None:
    """Raises a ValueError that names the argument unless what was given is allowed.

    >>> require_choice('padding', 'reflect', ('constant', 'replicate'))
    Traceback (most recent call last):
    ValueError: padding is 'reflect'; choose one of 'constant', 'replicate'.
    """
    allowed = tuple(allowed)
    if given not in allowed:
        raise ValueError(f'{name} is {given!r}; choose one of {", ".join(map(repr, allowed))}.')


def require_odd(name: str, given: object) -> None:
    """Raises a ValueError that names the argument unless it is an odd number of pixels, 3 or more.

    >>> require_odd('window', 4)
    Traceback (most recent call last):
    ValueError: window is 4; give an odd number of pixels, 3 or more.
    """
    if not isinstance(given, int) or given < 3 or given % 2 == 0:
        raise ValueError(f'{name} is {given!r}; give an odd number of pixels, 3 or more.')

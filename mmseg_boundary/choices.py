"""Arguments that are one of a few words."""

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

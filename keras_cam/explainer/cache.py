"""What is kept from call to call: the latest so many, by keys that anything may be part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

KEPT = 64  # compiled paths of one model, pieces of one path: a new function of the user's is a new one each time
Kept = TypeVar("Kept")


def get_or_make(cache: dict[Any, Kept], key: Any, make: Callable[[], Kept]) -> Kept:
    """What a cache holds for a key, made where it holds nothing; what was asked for longest ago is let go.

    >>> cache = {}
    >>> [kept(cache, key, lambda: key.upper()) for key in "aba"], list(cache)
    (['A', 'B', 'A'], ['b', 'a'])
    """
    cache[key] = cache.pop(key) if key in cache else make()
    while len(cache) > KEPT:
        del cache[next(iter(cache))]
    return cache[key]


def hashable(value: Any) -> Any:
    """A value as part of a key; what cannot be, such as an array or a tensor, by which object it is."""
    try:
        hash(value)
    except TypeError:
        return _SameObject(value)
    return value


class _SameObject:
    """Equal to itself alone; holds its object, so that no other can take its place in memory."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)

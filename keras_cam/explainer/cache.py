"""Caches from call to call: the latest so many values, by keys that anything may be part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

CACHE_SIZE = 64  # map functions of one model, compiled pieces of one: a new function of the user's is a new key
Value = TypeVar("Value")


def get_or_make(cache: dict[Any, Value], key: Any, make: Callable[[], Value]) -> Value:
    """The value that a cache holds for a key, made where it holds none; the least recently used goes.

    >>> cache = {}
    >>> [get_or_make(cache, key, key.upper) for key in "aba"], list(cache)
    (['A', 'B', 'A'], ['b', 'a'])
    """
    cache[key] = cache.pop(key) if key in cache else make()  # at the end of the dict: the most recently used
    while len(cache) > CACHE_SIZE:
        del cache[next(iter(cache))]
    return cache[key]


def hashable(value: Any) -> Any:
    """A value as part of a key; what cannot be, such as an array or a tensor, by which object it is."""
    try:
        hash(value)  # a tuple says at its hash alone whether all that it holds can be hashed
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

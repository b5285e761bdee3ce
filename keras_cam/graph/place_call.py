"""A call of an operation as the rules of places read it, and what of it several rules ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from keras_cam.graph.place import BATCH, Place, placeless


class UnknownPlaceError(Exception):
    """An operation that moves places in a way that is not known; the message says which and how."""


@dataclass(frozen=True)
class Constant:
    """Stands for a tensor that has no place, in the arguments of a call."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One call of an operation, with `Place` in the stead of tensors that have one.

    Attributes:
        operation: the operation; a wrapper such as SpectralNormalization is looked through.
        args: its arguments, `Place` or `Constant` in place of tensors.
        kwargs: its keyword arguments, likewise.
        path: its path in the model.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    path: str

    @property
    def name(self) -> str:
        """The operation as errors call it."""
        return f"{self.path!r} ({type(self.operation).__name__})"

    @property
    def tensors(self) -> list[Place | Constant]:
        """The tensors among the arguments, in order."""
        return [as_tensor(leaf) for leaf in _leaves((self.args, self.kwargs)) if hasattr(leaf, "shape")]

    @property
    def places(self) -> list[Place]:
        """Those of them that have a place."""
        return [tensor for tensor in self.tensors if isinstance(tensor, Place)]

    @property
    def place(self) -> Place:
        """The first of these."""
        return self.places[0]

    def argument(self, index: int, name: str, default: Any = None) -> Any:
        """An argument by its number or name."""
        return self.args[index] if len(self.args) > index else self.kwargs.get(name, default)


Rule = Callable[[Call], Place | list[Place | None] | None]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def as_tensor(value: Any) -> Place | Constant:
    """A place as it is; any other tensor as a `Constant`."""
    return value if isinstance(value, (Place, Constant)) else Constant(tuple(value.shape))


def as_place(value: Any) -> Place:
    """A place as it is; any other tensor as one without cells, whose open axes are as long as the batch."""
    if isinstance(value, Place):
        return value
    return Place(tuple(placeless(BATCH if length is None else int(length)) for length in value.shape))


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One value or several, as several."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def at(value: Any, number: int) -> Any:
    """The value for one axis, where all may share one."""
    return value[number] if isinstance(value, (tuple, list)) else value


def spatial_axes(call: Call) -> list[int]:
    """The axes of a call's first placed tensor that its layer calls spatial."""
    rank = len(call.place.axes)
    first = getattr(call.operation, "data_format", None) == "channels_first"
    return list(range(2, rank)) if first else list(range(1, rank - 1))


def channel_axis(call: Call) -> int:
    """The axis of a call's first placed tensor that its layer calls channels."""
    return 1 if getattr(call.operation, "data_format", None) == "channels_first" else len(call.place.axes) - 1

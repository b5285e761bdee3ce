"""Whether values of a record that anybody may have written are what they should be; they come out of JSON.

TensorBoard loads this file: it imports the standard library only.
"""

from __future__ import annotations

from typing import Any

LARGEST = 1e12  # of a number in a record: a float32 of the browser's graphics still holds it


def is_text(value: Any) -> bool:
    """Whether it is a string."""
    return isinstance(value, str)


def are_whole_numbers(values: Any, count: int | None, low: int, high: int) -> bool:
    """Whether values are a list of `count` whole numbers, or of any number of them, in a range."""
    # By type: JSON's true and false are of a class below int.
    if not isinstance(values, list) or count not in (None, len(values)):
        return False
    return all(type(value) is int and low <= value <= high for value in values)


def are_finite_numbers(values: Any, count: int | None = None, low: float = -LARGEST) -> bool:
    """Whether values are a list of `count` numbers, or of any number of them, in a range."""
    is_list = isinstance(values, list) and count in (None, len(values))
    return is_list and all(type(value) in (int, float) and low <= value <= LARGEST for value in values)


def are_classes(values: Any, count: int | None = None) -> bool:
    """Whether values are a list of class indices."""
    return are_whole_numbers(values, count, -(2**31), 2**31)


def is_index_or_none(value: Any) -> bool:
    """Whether it is a class index, a step, or None."""
    return value is None or are_classes([value])


def is_number_or_none(value: Any) -> bool:
    """Whether it is a finite number, or None."""
    return value is None or are_finite_numbers([value])


def are_numbers_or_none(values: Any) -> bool:
    """Whether it is a list of finite numbers and None."""
    return isinstance(values, list) and all(map(is_number_or_none, values))


def are_named_numbers(values: Any) -> bool:
    """Whether it is a dict of finite numbers and None."""
    return isinstance(values, dict) and are_numbers_or_none(list(values.values()))


def are_named_texts(values: Any) -> bool:
    """Whether it is a dict of strings."""
    return isinstance(values, dict) and all(map(is_text, values.values()))


def are_probable_classes(values: Any) -> bool:
    """Whether it is a list of pairs, a class index and its probability."""
    return isinstance(values, list) and all(are_finite_numbers(pair, 2) and are_classes(pair[:1]) for pair in values)


def are_boxes(values: Any) -> bool:
    """Whether it is a list of boxes of four finite numbers."""
    return isinstance(values, list) and all(are_finite_numbers(box, 4) for box in values)

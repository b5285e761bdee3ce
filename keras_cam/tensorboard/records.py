"""What the callback writes for the CAM tab and the tab's server reads: the form of its records.

A run holds, each under a tag of its own, the picture of a probe, its maps, and one summary of all probes for each
epoch. A maps record carries signed grids with their place in the picture, so that the browser can lay them over it.
TensorBoard loads this file: it imports the standard library and NumPy only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

PLUGIN = "keras_cam"
VERSION = 1
PICTURES, MAPS, EPOCHS = "pictures", "maps", "epochs"
EPOCHS_TAG = f"{PLUGIN}/epochs"
PROBE = re.compile(r"probe_[0-9]{1,5}\Z", re.ASCII)
LONGEST = 4096  # classes, rows or columns of one record
DTYPES = ("<f4", "<f2")


class MapsRecord(NamedTuple):
    """The maps of one probe at one step.

    Attributes:
        maps: (C, h, w) float32, signed, in units of the score.
        classes: which class each is of.
        placement: (offset, stride) of the rows and of the columns: the centre of cell i lies at offset + stride * i, in
            pixels of the picture.
        field: height and width of what a cell sees, in pixels of the picture; 0 where that is not known.
        size: height and width of the picture.
    """

    maps: np.ndarray
    classes: tuple[int, ...]
    placement: tuple[tuple[float, float], tuple[float, float]]
    field: tuple[float, float]
    size: tuple[int, int]


def probe_id(index: int) -> str:
    """Name of a probe in tags and addresses, such as "probe_03"."""
    return f"probe_{index:02d}"


def tag_of(probe: str, kind: str) -> str:
    """The tag of a probe's pictures or maps."""
    return f"{PLUGIN}/{probe}/{kind}"


def content_of(kind: str) -> bytes:
    """What the metadata of a tag hold."""
    return json.dumps({"v": VERSION, "kind": kind}).encode()


def kind_of(content: bytes) -> str | None:
    """What a tag's metadata say it holds; None where they are not ours."""
    try:
        said = json.loads(content)
    except ValueError:
        return None
    known = isinstance(said, dict) and said.get("v") == VERSION and said.get("kind") in (PICTURES, MAPS, EPOCHS)
    return str(said["kind"]) if known else None


def encode_maps(record: MapsRecord, dtype: str = "<f4") -> list[bytes]:
    """A maps record as the two strings of its tensor: a header, and the numbers.

    Args:
        record: the record.
        dtype: "<f4", or "<f2" for half the size.

    Returns:
        The strings.
    """
    header = {"v": VERSION, "shape": list(record.maps.shape), "dtype": dtype, **record._asdict()}
    del header["maps"]
    return [json.dumps(header).encode(), np.ascontiguousarray(record.maps, dtype=dtype).tobytes()]


def decode_maps(strings: Sequence[bytes]) -> MapsRecord:
    """Read what `encode_maps` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        The record.

    Raises:
        ValueError: anything but a whole record; the message says what is wrong with it.
    """
    if len(strings) != 2:
        raise ValueError(f"{len(strings)} strings, not 2")
    header = _object(strings[0])
    names = ("shape", "dtype", "classes", "placement", "field", "size")
    parts: list[Any] = [header.get(name) for name in names]
    shape, dtype, classes, placement, field, size = parts
    if not _whole(shape, 3, 1, LONGEST) or dtype not in DTYPES:
        raise ValueError("no maps (C, h, w) of a known type")
    if len(strings[1]) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{len(strings[1])} bytes for maps of shape {shape}")
    if not _whole(classes, shape[0], -(2**31), 2**31):
        raise ValueError("not one class for each map")
    pairs: list[Any] = placement if isinstance(placement, list) and len(placement) == 2 else [None, None]
    if not all(_finite(pair, 2) and pair[1] != 0 for pair in pairs) or not _finite(field, 2):
        raise ValueError("no place for the cells")
    if not _whole(size, 2, 1, 2**16):
        raise ValueError("no size of the picture")
    maps = np.frombuffer(strings[1], dtype).reshape(shape).astype("<f4")
    (rows, columns) = ((float(offset), float(stride)) for offset, stride in pairs)
    return MapsRecord(maps, tuple(classes), (rows, columns), (float(field[0]), float(field[1])), (size[0], size[1]))


def encode_epoch(epoch: int, probes: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """A summary of all probes at one epoch as the one string of its tensor; numbers that are not finite are left out.

    Args:
        epoch: which one, counted from 0.
        probes: for each probe "probe", "group", "name", "true", "predicted", "classes", "names", "p", "p_true", "boxes"
            and "numbers".

    Returns:
        The string.
    """
    return [json.dumps(_clean({"v": VERSION, "epoch": epoch, "probes": list(probes)}), allow_nan=False).encode()]


def decode_epoch(strings: Sequence[bytes]) -> dict[str, Any]:
    """Read what `encode_epoch` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        The summary, of which "probes" holds only dicts with a probe's id and lists of classes.

    Raises:
        ValueError: anything else.
    """
    if len(strings) != 1:
        raise ValueError(f"{len(strings)} strings, not 1")
    summary = _object(strings[0])
    probes = summary.get("probes")
    if not isinstance(probes, list):
        raise ValueError("no list of probes")
    for probe in probes:
        if not isinstance(probe, dict) or not PROBE.match(str(probe.get("probe"))):
            raise ValueError("a probe without an id")
        if not isinstance(probe.get("classes"), list) or not _whole(probe["classes"], None, -(2**31), 2**31):
            raise ValueError("a probe without classes")
    return summary


def _object(string: bytes) -> Any:
    try:
        found = json.loads(string)
    except (ValueError, RecursionError) as error:
        raise ValueError("a header that is no JSON") from error
    if not isinstance(found, dict) or found.get("v") != VERSION:
        raise ValueError(f"not of version {VERSION}")
    return found


def _whole(values: Any, count: int | None, low: int, high: int) -> bool:
    """Whether values are a list of so many whole numbers in a range."""
    if not isinstance(values, list) or (count is not None and len(values) != count):
        return False
    return all(type(value) is int and low <= value <= high for value in values)


def _finite(values: Any, count: int) -> bool:
    is_list = isinstance(values, list) and len(values) == count
    return is_list and all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _clean(value: Any) -> Any:
    """A structure for JSON: NumPy's numbers as Python's, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_clean(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

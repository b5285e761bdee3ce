"""What the callback writes for the CAM tab and the tab's server reads: the form of its records.

A run holds, each under a tag of its own, the picture of a probe, its maps, and one summary of all probes for each
epoch. A maps record carries signed grids with their place in the picture, so that the browser can lay them over it.
TensorBoard loads this file: it imports the standard library and NumPy only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

PLUGIN = "keras_cam"
VERSION = 1
PICTURES, MAPS, EPOCHS = "pictures", "maps", "epochs"
EPOCHS_TAG = f"{PLUGIN}/epochs"
PROBE = re.compile(r"probe_[0-9]{1,5}\Z", re.ASCII)
LONGEST = 4096  # classes, rows or columns of one record
LARGEST = 1e12  # of a number in a header: a float32 of the browser's graphics still holds it
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
        kind = _object(content).get("kind")
    except ValueError:
        return None
    return str(kind) if kind in (PICTURES, MAPS, EPOCHS) else None


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
    return [json.dumps(_clean(header)).encode(), np.ascontiguousarray(record.maps, dtype=dtype).tobytes()]


def decode_maps(strings: Sequence[bytes]) -> MapsRecord:
    """Read what `encode_maps` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        The record.

    Raises:
        ValueError: anything but a whole record; the message says what is wrong with it.
    """
    first, numbers = _strings(strings, 2)
    header = _object(first)
    names = ("shape", "dtype", "classes", "placement", "field", "size")
    parts: list[Any] = [header.get(name) for name in names]
    shape, dtype, classes, placement, field, size = parts
    if not _whole(shape, 3, 1, LONGEST) or dtype not in DTYPES:
        raise ValueError("no maps (C, h, w) of a known type")
    if len(numbers) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{len(numbers)} bytes for maps of shape {shape}")
    if not _are_classes(classes, shape[0]):
        raise ValueError("not one class for each map")
    pairs: list[Any] = placement if isinstance(placement, list) and len(placement) == 2 else [None, None]
    if not all(_finite(pair, 2) and pair[1] != 0 for pair in pairs) or not _finite(field, 2, low=0):
        raise ValueError("no place for the cells")
    if not _whole(size, 2, 1, 2**16):
        raise ValueError("no size of the picture")
    maps = np.frombuffer(numbers, dtype).reshape(shape).astype("<f4")
    (rows, columns) = ((float(offset), float(stride)) for offset, stride in pairs)
    return MapsRecord(maps, tuple(classes), (rows, columns), (float(field[0]), float(field[1])), (size[0], size[1]))


def encode_epoch(epoch: int, probes: Sequence[Mapping[str, Any]], unit: str = "epoch") -> list[bytes]:
    """A summary of all probes at one epoch as the one string of its tensor; numbers that are not finite are left out.

    Args:
        epoch: which one, counted from 0.
        probes: for each probe "probe", "group", "name", "image" (what tells its picture from others), "picture" (the
            step that it was written at), "true", "predicted", "classes" (that are mapped), "names", "p", "p_true",
            "top" (pairs of a class, mapped or not, and its probability), "boxes", "numbers", and of which classes'
            maps these are: "inside_of" where they are about the boxes, "heat_of" where they are not.
        unit: what is counted: "epoch" or "batch".

    Returns:
        The string.
    """
    summary = {"v": VERSION, "epoch": epoch, "unit": unit, "probes": list(probes)}
    return [json.dumps(_clean(summary), allow_nan=False, separators=(",", ":")).encode()]


def decode_epoch(strings: Sequence[bytes]) -> dict[str, Any]:
    """Read what `encode_epoch` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        "v", "epoch", "unit" and "probes"; each probe has all that `encode_epoch` names, empty or None where it was not
        said, and nothing else.

    Raises:
        ValueError: anything but a whole summary; the message says what is wrong with it.
    """
    summary = _object(*_strings(strings, 1))
    epoch, probes = summary.get("epoch"), summary.get("probes")
    if not _whole([epoch], 1, -(2**53), 2**53) or not isinstance(probes, list):
        raise ValueError("no epoch, or no list of probes")
    unit = "batch" if summary.get("unit") == "batch" else "epoch"
    return {"v": VERSION, "epoch": epoch, "unit": unit, "probes": [_probe(probe) for probe in probes]}


def _probe(said: Any) -> dict[str, Any]:
    """One probe of an epoch, all its parts checked."""
    if not isinstance(said, dict) or not PROBE.match(str(said.get("probe"))) or not _are_classes(said.get("classes")):
        raise ValueError("a probe without an id or classes")
    classes = said["classes"]
    texts = {part: said.get(part, "") for part in ("group", "name", "image")}
    asked = {part: said.get(part) for part in ("true", "predicted", "picture", "heat_of", "inside_of")}
    names, numbers, boxes = said.get("names", {}), said.get("numbers", {}), said.get("boxes", [])
    p, p_true, top = said.get("p", [None] * len(classes)), said.get("p_true"), said.get("top", [])
    sound = {
        "group, name or image": all(isinstance(text, str) for text in texts.values()),
        "true or predicted class, or picture": _are_classes(_known(asked.values())),
        "names": isinstance(names, dict) and all(isinstance(name, str) for name in names.values()),
        "p": isinstance(p, list) and len(p) == len(classes) and _finite(_known([*p, p_true])),
        "top": isinstance(top, list) and all(_finite(pair, 2) and _are_classes(pair[:1]) for pair in top),
        "numbers": isinstance(numbers, dict) and _finite(_known(numbers.values())),
        "boxes": isinstance(boxes, list) and all(_finite(box, 4) for box in boxes),
    }
    if not all(sound.values()):
        raise ValueError(f"a probe with a wrong {next(part for part in sound if not sound[part])}")
    numbers = {name: value for name, value in numbers.items() if value is not None}
    rest = {"classes": classes, "names": names, "p": p, "p_true": p_true, "top": top, "boxes": boxes}
    rest["numbers"] = numbers
    return {"probe": said["probe"], **texts, **asked, **rest}


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _are_classes(values: Any, count: int | None = None) -> bool:
    return _whole(values, count, -(2**31), 2**31)


def _strings(strings: Any, count: int) -> list[bytes]:
    found = list(strings) if isinstance(strings, (list, tuple)) else []
    if len(found) != count or not all(type(string) is bytes for string in found):
        raise ValueError(f"not {count} strings")
    return found


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
    if not isinstance(values, list) or count not in (None, len(values)):
        return False
    return all(type(value) is int and low <= value <= high for value in values)


def _finite(values: Any, count: int | None = None, low: float = -LARGEST) -> bool:
    """Whether values are a list of so many numbers in a range."""
    is_list = isinstance(values, list) and count in (None, len(values))
    return is_list and all(type(value) in (int, float) and low <= value <= LARGEST for value in values)


def _clean(value: Any) -> Any:
    """A structure for JSON: NumPy's numbers as Python's, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_clean(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

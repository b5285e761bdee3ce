"""What the callback writes for the CAM tab and the tab's server reads: the form of its records.

A run holds, each under a tag of its own, the picture of a probe, its maps, and one summary of all probes for each
epoch. A maps record carries signed grids with their place in the picture, so that the browser can lay them over it.
TensorBoard loads this file: of others it imports the standard library and NumPy only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_cam.tensorboard.checks import (
    are_boxes,
    are_classes,
    are_finite_numbers,
    are_named_numbers,
    are_named_texts,
    are_numbers_or_none,
    are_probable_classes,
    are_whole_numbers,
    is_index_or_none,
    is_number_or_none,
    is_text,
)

PLUGIN = "keras_cam"
VERSION = 1
PICTURES, MAPS, EPOCHS = "pictures", "maps", "epochs"
EPOCHS_TAG = f"{PLUGIN}/epochs"
PROBE = re.compile(r"probe_[0-9]{1,5}\Z", re.ASCII)
LONGEST = 4096  # classes, rows or columns of one record
DTYPES = ("<f4", "<f2")  # of maps; the first is written, both are read
FIRST_MAP, OBJECT_MAP = "heat", "inside"  # what a measure is about: the map of class "heat_of", or of "inside_of"


class Part(NamedTuple):
    """A part of what is said of a probe.

    Attributes:
        default: makes what stands for it where it is not said, for so many classes.
        is_valid: whether it is sound, so that the page can draw it without looking twice.
    """

    default: Callable[[int], Any]
    is_valid: Callable[[Any], bool]


TEXT, INDEX = Part(lambda count: "", is_text), Part(lambda count: None, is_index_or_none)
PARTS = {  # of a probe, besides "probe" and "classes"
    "group": TEXT,
    "name": TEXT,
    "image": TEXT,
    "true": INDEX,
    "predicted": INDEX,
    "picture": INDEX,  # a step
    "heat_of": INDEX,
    "inside_of": INDEX,
    "names": Part(lambda count: {}, are_named_texts),
    "p": Part(lambda count: [None] * count, are_numbers_or_none),
    "p_true": Part(lambda count: None, is_number_or_none),
    "top": Part(lambda count: [], are_probable_classes),
    "boxes": Part(lambda count: [], are_boxes),
    "numbers": Part(lambda count: {}, are_named_numbers),
}


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


def encode_maps(record: MapsRecord) -> list[bytes]:
    """A maps record as the two strings of its tensor: a header, and the numbers.

    Args:
        record: the record.

    Returns:
        The strings.
    """
    header = {"v": VERSION, "shape": list(record.maps.shape), "dtype": DTYPES[0], **record._asdict()}
    del header["maps"]
    return [json.dumps(_clean(header)).encode(), np.ascontiguousarray(record.maps, dtype=DTYPES[0]).tobytes()]


def decode_maps(strings: Sequence[bytes]) -> MapsRecord:
    """Read what `encode_maps` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        The record.

    Raises:
        ValueError: anything but a whole record; the message says what is wrong with it.
    """
    # Each part is checked before the next one is read by it.
    first, numbers = _strings(strings, 2)
    header = _object(first)
    maps = _decode_numbers(numbers, header.get("shape"), header.get("dtype"))
    classes, field, size = header.get("classes"), header.get("field"), header.get("size")
    if not are_classes(classes, len(maps)):
        raise ValueError("not one class for each map")
    placement = _decode_placement(header.get("placement"))
    if not are_finite_numbers(field, 2, low=0):
        raise ValueError("no size of what a cell sees")
    if not are_whole_numbers(size, 2, 1, 2**16):
        raise ValueError("no size of the picture")
    return MapsRecord(maps, tuple(classes), placement, (float(field[0]), float(field[1])), (size[0], size[1]))


def _decode_numbers(numbers: bytes, shape: Any, dtype: Any) -> np.ndarray:
    if not are_whole_numbers(shape, 3, 1, LONGEST) or dtype not in DTYPES:
        raise ValueError("no maps (C, h, w) of a known type")
    if len(numbers) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{len(numbers)} bytes for maps of shape {shape}")
    return np.frombuffer(numbers, dtype).reshape(shape).astype("<f4")


def _decode_placement(placement: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    if not isinstance(placement, list) or len(placement) != 2:
        raise ValueError("no place for the cells")
    if not all(are_finite_numbers(pair, 2) and pair[1] != 0 for pair in placement):
        raise ValueError("no offset and stride of the cells")
    rows, columns = ((float(offset), float(stride)) for offset, stride in placement)
    return rows, columns


def encode_epoch(
    epoch: int,
    probes: Sequence[Mapping[str, Any]],
    unit: str = "epoch",
    measures: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[bytes]:
    """A summary of all probes at one epoch as the one string of its tensor; numbers that are not finite are left out.

    Args:
        epoch: which one, counted from 0.
        probes: for each probe "probe", "group", "name", "image" (what tells its picture from others), "picture" (the
            step that it was written at), "true", "predicted", "classes" (that are mapped), "names", "p", "p_true",
            "top" (pairs of a class, mapped or not, and its probability), "boxes", "numbers", and of which classes'
            maps these are: "inside_of" where they are about the boxes, "heat_of" where they are not.
        unit: what is counted: "epoch" or "batch".
        measures: for each name in "numbers" its "label" for the reader, and which map it is "about":
            `FIRST_MAP`, `OBJECT_MAP` or None.

    Returns:
        The string.
    """
    summary = {"v": VERSION, "epoch": epoch, "unit": unit, "measures": measures or {}, "probes": list(probes)}
    return [json.dumps(_clean(summary), allow_nan=False, separators=(",", ":")).encode()]


def decode_epoch(strings: Sequence[bytes]) -> dict[str, Any]:
    """Read what `encode_epoch` wrote, or what somebody else did.

    Args:
        strings: the strings of a tensor.

    Returns:
        "v", "epoch", "unit", "measures" and "probes"; each probe has all that `encode_epoch` names, empty or None where
        it was not said, and nothing else.

    Raises:
        ValueError: anything but a whole summary; the message says what is wrong with it.
    """
    # What is not there is empty, as in logs that were written before it was said; what is there must be whole.
    summary = _object(*_strings(strings, 1))
    epoch, probes, measures = summary.get("epoch"), summary.get("probes"), summary.get("measures", {})
    if (
        not are_whole_numbers([epoch], 1, -(2**53), 2**53)
        or not isinstance(probes, list)
        or not isinstance(measures, dict)
    ):
        raise ValueError("no epoch, no list of probes, or no table of measures")
    return {
        "v": VERSION,
        "epoch": epoch,
        "unit": "batch" if summary.get("unit") == "batch" else "epoch",
        "measures": {name: _measure(measure) for name, measure in measures.items()},
        "probes": [_probe(probe) for probe in probes],
    }


def _measure(measure: Any) -> dict[str, Any]:
    """What is said of a measure, checked."""
    if not isinstance(measure, dict) or not isinstance(measure.get("label"), str):
        raise ValueError("a measure without a label")
    about = measure.get("about")
    if about is not None and about not in (FIRST_MAP, OBJECT_MAP):
        raise ValueError("a measure about an unknown map")
    return {"label": measure["label"], "about": about}


def _probe(probe: Any) -> dict[str, Any]:
    """One probe of an epoch, all its parts checked."""
    if not isinstance(probe, dict) or not PROBE.match(str(probe.get("probe"))):
        raise ValueError("a probe without an id")
    if not are_classes(probe.get("classes")):
        raise ValueError("a probe without classes")
    # All other parts by their table; what is not in it is left out.
    count = len(probe["classes"])
    parts = {"probe": probe["probe"], "classes": probe["classes"]}
    for name, part in PARTS.items():
        parts[name] = probe.get(name, part.default(count))
        if not part.is_valid(parts[name]):
            raise ValueError(f"a probe with a wrong {name}")
    if len(parts["p"]) != count:
        raise ValueError(f"{len(parts['p'])} probabilities of {count} classes")
    parts["numbers"] = {name: value for name, value in parts["numbers"].items() if value is not None}
    return parts


def _strings(strings: Any, count: int) -> list[bytes]:
    parts = list(strings) if isinstance(strings, (list, tuple)) else []
    if len(parts) != count or not all(type(part) is bytes for part in parts):
        raise ValueError(f"not {count} strings")
    return parts


def _object(string: bytes) -> Any:
    try:
        content = json.loads(string)
    except (ValueError, RecursionError) as error:  # brackets within brackets, a hundred thousand deep
        raise ValueError("a header that is no JSON") from error
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise ValueError(f"not of version {VERSION}")
    return content


def _clean(value: Any) -> Any:
    """A structure for JSON: NumPy's numbers as Python's, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_clean(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

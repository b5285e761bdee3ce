"""Where the cells of a tensor lie in an image, measured: pixel by pixel changed, and what of the tensor changes by it.

And the same as a `Place` claims it, number by number. Both in plain NumPy, apart from the algebra in the package.
"""

import keras
import numpy as np

from keras_cam.graph.descent import channels_first_of, places_in
from keras_cam.graph.open_layers import open_callers_layers
from keras_cam.graph.place import BATCH
from keras_cam.graph.trace import trace

DELTAS = (0.5, -0.5, -3.0)  # more than the pixels of the example differ by; the last turns their sign


def place_of(model, number=0):
    """The place of an output of a model in its first input; None where it has none."""
    program = open_callers_layers(trace(model))
    return places_in(program, program.inputs[0]).by_slot.get(program.outputs[number])


def claimed_positions(place, line):
    """Of each entry of one image's tensor, the pixel that the place says along the axis of a line; NaN of tokens."""
    cells = np.zeros(())
    for axis in place.axes:
        lengths = [1 if atom.length == BATCH else atom.length for atom in axis.atoms]
        along = np.full(axis.before + int(np.prod(lengths, dtype=int)) + axis.after, np.nan)
        for number, index in enumerate(np.ndindex(*lengths)):
            mine = [entry * atom.step for entry, atom in zip(index, axis.atoms, strict=True) if atom.line == line]
            along[axis.before + number] = sum(mine)
        cells = cells[..., None] + along
    return line.cells.offset + line.cells.stride * ((cells - line.roll) % line.cells.length)


def changes(model, number=0):
    """How much each entry of an output changes by each pixel of the first input: (*pixels, entries of one image)."""
    rng = np.random.default_rng(0)
    base, *others = (rng.uniform(1, 1.2, size=(1, *tensor.shape[1:])).astype("float32") for tensor in model.inputs)
    program = trace(model)
    is_first = channels_first_of(program, program.inputs[0])
    spatial = base.shape[2:] if is_first else base.shape[1:-1]
    by_channel = np.linspace(1, 1.5, base.shape[1 if is_first else -1])  # softmax sees no change that all share
    largest = 0
    for delta in DELTAS:
        images = np.repeat(base, np.prod(spatial) + 1, axis=0)  # the last image stays as it is
        for image, pixel in zip(images, np.ndindex(*spatial), strict=False):
            image[(slice(None), *pixel) if is_first else pixel] += delta * by_channel
        repeated = [np.repeat(other, len(images), axis=0) for other in others]
        outputs = keras.tree.flatten(model([images, *repeated] if others else images, training=False))
        output = keras.ops.convert_to_numpy(outputs[number]).astype("float64").reshape(len(images), -1)
        changed = np.abs(output[:-1] - output[-1])
        largest = np.maximum(largest, np.where(np.isnan(changed), np.inf, changed))
    return largest.reshape(*spatial, -1)


def measured_ends(changed, axis):
    """The first and the last pixel along an axis that each entry reads; (length, -1) where it reads none."""
    others = tuple(number for number in range(changed.ndim - 1) if number != axis)
    reads = (changed > 1e-4).any(axis=others)  # (length, entries)
    length = len(reads)
    first = np.where(reads.any(axis=0), reads.argmax(axis=0), length)
    last = np.where(reads.any(axis=0), length - 1 - reads[::-1].argmax(axis=0), -1)
    return first, last


def check_windows(changed, place):
    """Each entry reads from the first to the last pixel of its window, what the border cuts off left out."""
    lines, windows = place.lines(), {}
    for axis, line in lines.items():
        position, reach = claimed_positions(place, line).ravel(), (line.cells.field - 1) / 2
        windows[axis] = np.ceil(position - reach - 1e-6), np.floor(position + reach + 1e-6)
    is_outside = np.any(
        [(last < 0) | (first >= changed.shape[axis]) for axis, (first, last) in windows.items()], axis=0
    )
    for axis, ends in windows.items():
        first, last = measured_ends(changed, axis)
        is_cell = ~np.isnan(ends[0]) & ~is_outside
        assert is_cell.any() and (last[is_outside] < 0).all()
        np.testing.assert_array_equal(first[is_cell], np.maximum(ends[0], 0)[is_cell])
        np.testing.assert_array_equal(last[is_cell], np.minimum(ends[1], changed.shape[axis] - 1)[is_cell])


def check_centres(changed, place, tolerance=1e-6):
    """The middle of what each entry reads is its place, where the border cuts nothing off, and its field is enough."""
    for axis, line in place.lines().items():
        position, reach = claimed_positions(place, line).ravel(), (line.cells.field - 1) / 2
        first, last = measured_ends(changed, axis)
        inner = (position - reach >= 0) & (position + reach <= changed.shape[axis] - 1) & (last >= 0)
        assert inner.any(), "no cell to compare"
        np.testing.assert_allclose(((first + last) / 2)[inner], position[inner], rtol=0, atol=tolerance)
        assert ((last - first)[inner] < line.cells.field + 1e-6).all()


def check_largest(changed, place):
    """What changes an entry most is the pixel at its place."""
    most = np.unravel_index(changed.reshape(-1, changed.shape[-1]).argmax(axis=0), changed.shape[:-1])
    for axis, line in place.lines().items():
        position = claimed_positions(place, line).ravel()
        is_cell = ~np.isnan(position)
        np.testing.assert_array_equal(most[axis][is_cell], position[is_cell])

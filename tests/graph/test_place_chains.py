"""Random chains of operations that only move numbers: wherever a place is claimed, the very pixel must be there."""

import random

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from support.measured_places import claimed_positions

from keras_cam.graph.descent import places_in
from keras_cam.graph.trace import trace

SHAPE = (4, 6, 2)
NOTHING = -1.0  # of what is put round the image
LARGEST = 2000  # numbers that a chain may make


def lengths_of(total, rng):
    """Random lengths of axes with this product."""
    lengths = []
    while total > 1 and len(lengths) < 3:
        divisors = [number for number in range(2, total + 1) if total % number == 0]
        lengths.append(rng.choice(divisors))
        total //= lengths[-1]
    return (*lengths, total)


def reshape(x, rng):
    return ops.reshape(x, (-1, *lengths_of(int(np.prod(x.shape[1:])), rng)))


def join(x, rng):
    """Two neighbouring axes made one."""
    axis = rng.randrange(1, max(2, len(x.shape) - 1))
    joined = int(np.prod(x.shape[axis : axis + 2]))
    return ops.reshape(x, (-1, *x.shape[1:axis], joined, *x.shape[axis + 2 :]))


def split(x, rng):
    """An axis made two."""
    axis = rng.randrange(1, len(x.shape))
    first = rng.choice([number for number in range(1, x.shape[axis] + 1) if x.shape[axis] % number == 0])
    return ops.reshape(x, (-1, *x.shape[1:axis], first, x.shape[axis] // first, *x.shape[axis + 1 :]))


def transpose(x, rng):
    return ops.transpose(x, (0, *rng.sample(range(1, len(x.shape)), len(x.shape) - 1)))


def flip(x, rng):
    return ops.flip(x, rng.randrange(1, len(x.shape)))


def roll(x, rng):
    return ops.roll(x, rng.randrange(-3, 4), axis=rng.randrange(1, len(x.shape)))


def cut(x, rng):
    """A slice along an axis, forwards or backwards."""
    axis = rng.randrange(1, len(x.shape))
    first, last = sorted(rng.choices(range(x.shape[axis]), k=2))
    step = rng.choice([1, 1, 2, 3])
    part = slice(last, first - 1 if first else None, -step) if rng.random() < 0.3 else slice(first, last + 1, step)
    return x[(slice(None),) * axis + (part,)]


def pick(x, rng):
    """One entry of an axis."""
    return x[(slice(None),) * rng.randrange(1, len(x.shape)) + (rng.choice([0, -1]),)] if len(x.shape) > 2 else x


def pad(x, rng):
    axis = rng.randrange(1, len(x.shape))
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = rng.randrange(3), rng.randrange(3)
    return ops.pad(x, widths, constant_values=NOTHING)


def add_tokens(x, rng):
    axis = rng.randrange(1, len(x.shape))
    token = ops.full((1, *x.shape[1:axis], rng.randrange(1, 3), *x.shape[axis + 1 :]), NOTHING)
    parts = [token, x] if rng.random() < 0.7 else [x, token]
    return ops.concatenate(parts, axis)


def cut_tokens(x, rng):
    """Entries of an axis cut off in front or behind, as of class tokens and registers."""
    axis, count = rng.randrange(1, len(x.shape)), rng.randrange(1, 3)
    part = slice(count, None) if rng.random() < 0.6 else slice(None, -count)
    return x[(slice(None),) * axis + (part,)] if x.shape[axis] > count else x


def repeat(x, rng):
    return ops.repeat(x, 2, axis=rng.randrange(1, len(x.shape)))


def one_more_axis(x, rng):
    return ops.expand_dims(x, rng.randrange(1, len(x.shape) + 1))


def stack(x, rng):
    return ops.stack([x, x], axis=rng.randrange(1, len(x.shape) + 1))


KINDS = [reshape, join, split, split, transpose, transpose, flip, roll, cut, pick, pad, add_tokens, cut_tokens]
KINDS += [repeat, one_more_axis, stack]


def chain(kinds, seed):
    """Each tensor of a chain of operations, the image first."""
    rng = random.Random(seed)
    tensors = [keras.Input(SHAPE, batch_size=1)]
    for kind in kinds:
        following = kind(tensors[-1], rng)
        if len(following.shape) < 8 and 0 < np.prod(following.shape[1:]) <= LARGEST:
            tensors.append(following)
    return tensors


def pixels_of(number):
    """Row and column of a pixel's numbers."""
    position = number // SHAPE[-1]
    return position // SHAPE[1], position % SHAPE[1]


def check_claims(place, values):
    """Every pixel that is no token lies where the place says; nothing lies there where channels were padded."""
    rows_and_columns = pixels_of(values)
    for axis, line in place.lines().items():
        claim = claimed_positions(place, line).reshape(values.shape)
        is_pixel = (values != NOTHING) & ~np.isnan(claim)
        # Where a cell has several entries, as of a repetition, they lie side by side in it.
        np.testing.assert_allclose(rows_and_columns[axis][is_pixel], claim[is_pixel], rtol=0, atol=0.49)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=3, max_size=6), st.integers(0, 2**32))
def test_a_place_that_is_claimed_is_true(kinds, seed):
    tensors = chain(kinds, seed)
    model = keras.Model(tensors[0], tensors)
    program = trace(model)
    places = places_in(program, program.inputs[0])
    image = np.arange(np.prod(SHAPE), dtype="float32").reshape(1, *SHAPE)
    for slot, value in zip(program.outputs, model(image), strict=True):
        place = places.by_slot.get(slot)
        if place is not None and place.lines():
            check_claims(place, keras.ops.convert_to_numpy(value)[0])

"""Feature maps in every layout: on a grid as loops put them there, and back."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.measured_places import claimed_positions

from keras_cam.graph.descent import places_in
from keras_cam.graph.program import run
from keras_cam.graph.trace import trace
from keras_cam.model.layout import layout_in

SHAPE = (4, 6, 2)  # of the image


def tokens(x):
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


def blocks(x):
    """Patches of 2 x 2 as in MobileViT: the pixels of a patch, the patches, the channels."""
    split = ops.reshape(x, (-1, 2, 2, 3, 2, 2))
    return ops.reshape(ops.transpose(split, (0, 2, 4, 1, 3, 5)), (-1, 4, 6, 2))


def framed(x):
    """Learned cells all round the image, which have no place."""
    border = np.full((3, 1, 6, 2), -1.0, x.dtype), np.full((3, 5, 1, 2), -2.0, x.dtype)
    return ops.concatenate([border[1], ops.concatenate([border[0], x], 1), border[1]], 2)


LAYOUTS = {  # what is made of an image: of two channels, but where it says otherwise
    "plain": lambda x: x * 1,
    "channels first": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "rows and columns swapped": lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "channels between": lambda x: ops.transpose(x, (0, 1, 3, 2)),
    "tokens": tokens,
    "tokens column by column": lambda x: tokens(ops.transpose(x, (0, 2, 1, 3))),
    "tokens, channels first": lambda x: ops.transpose(tokens(x), (0, 2, 1)),
    "tokens behind a prefix": lambda x: ops.pad(tokens(x), ((0, 0), (2, 0), (0, 0)), constant_values=-1),
    "tokens before a suffix": lambda x: ops.pad(tokens(x), ((0, 0), (0, 1), (0, 0)), constant_values=-1),
    "tokens behind a prefix and before a suffix": lambda x: ops.pad(
        tokens(x), ((0, 0), (1, 4), (0, 0)), constant_values=-1
    ),
    "tokens round rows and columns": framed,
    "mirrored": lambda x: ops.flip(x, 2),
    "mirrored tokens": lambda x: ops.flip(tokens(x), 1),
    "rolled": lambda x: ops.roll(x, (1, -2), (1, 2)),
    "mirrored, rolled and swapped": lambda x: ops.transpose(ops.roll(ops.flip(x, 1), 1, 1), (0, 2, 1, 3)),
    "blocks": blocks,
    "rolled windows": lambda x: blocks(ops.roll(x, (-1, -1), (1, 2))),
    "windows in the batch": lambda x: ops.reshape(ops.transpose(blocks(x), (0, 2, 1, 3)), (-1, 4, 2)),
    "rows in the batch": lambda x: ops.reshape(x, (-1, 6, 2)),
    "heads in an axis of their own": lambda x: ops.transpose(
        ops.reshape(tokens(ops.concatenate([x, x + 1], -1)), (-1, 24, 2, 2)), (0, 2, 1, 3)
    ),
    "an axis of length one": lambda x: x[:, None],
    "one channel that is gone": lambda x: x[..., 0],
    "every other cell": lambda x: x[:, ::2, 1::2],
}


class Made:
    """A tensor in a layout, and where it lies."""

    def __init__(self, name, images=3, dtype="float32"):
        inputs = keras.Input(SHAPE, batch_size=images, dtype=dtype)
        self.model = keras.Model(inputs, LAYOUTS[name](inputs))
        program = trace(self.model)
        places = places_in(program, program.inputs[0])
        slot = program.outputs[0]
        assert places.is_spatial(slot)
        self.place, self.lines = places.by_slot[slot], places.lines(slot)
        self.layout = layout_in(places, slot, program.shape(slot))
        self.image = np.random.default_rng(0).uniform(size=(images, *SHAPE)).astype(dtype)
        # The program, for the model itself would cast what it is called on.
        self.tensor = run(program.steps, {program.inputs[0]: ops.convert_to_tensor(self.image)})[slot]
        self.values = ops.convert_to_numpy(self.tensor)


def on_a_grid_by_loops(made):
    """Each number put at the row and column where its place is, its channel the next that is free there."""
    images = len(made.image)
    entries = made.values.reshape(images, -1)
    rows, columns = (claimed_positions(made.place, line).ravel() for line in made.lines)
    ordered_rows, ordered_columns = (sorted(set(along[~np.isnan(along)])) for along in (rows, columns))
    cells = {}
    for number in range(entries.shape[1]):
        if not np.isnan(rows[number]):
            cells.setdefault((rows[number], columns[number]), []).append(entries[:, number])
    grid = [[np.stack(cells[row, column], -1) for column in ordered_columns] for row in ordered_rows]
    return np.moveaxis(np.array(grid), 2, 0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_on_a_grid_as_loops_put_it_there(name):
    made = Made(name)
    grid = ops.convert_to_numpy(made.layout.to_grid(made.tensor))
    np.testing.assert_array_equal(grid, on_a_grid_by_loops(made))


@pytest.mark.parametrize(
    "name", [name for name in LAYOUTS if name not in ("one channel that is gone", "every other cell")]
)
def test_whatever_was_moved_the_image_comes_out(name):
    made = Made(name)
    grid = ops.convert_to_numpy(made.layout.to_grid(made.tensor))
    np.testing.assert_array_equal(grid[..., :2], made.image)


@pytest.mark.parametrize("name", LAYOUTS)
def test_to_a_grid_and_back(name):
    made = Made(name)
    back = made.layout.from_grid(made.layout.to_grid(made.tensor), like=made.tensor)
    np.testing.assert_array_equal(ops.convert_to_numpy(back), made.values)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_comes_back_has_the_tokens_of_what_it_is_to_be_like(name):
    made = Made(name)
    back = ops.convert_to_numpy(made.layout.from_grid(made.layout.to_grid(made.tensor) + 5, like=made.tensor))
    changed = back != made.values
    assert changed.sum() == np.prod(made.layout.to_grid(made.tensor).shape)
    np.testing.assert_allclose(back[changed], made.values[changed] + 5, rtol=1e-6)


@pytest.mark.parametrize("name", LAYOUTS)
def test_half_precision_is_float32_on_the_grid_and_comes_back_as_it_was(name):
    made = Made(name, dtype="float16")
    grid = made.layout.to_grid(made.tensor)
    assert keras.backend.standardize_dtype(made.tensor.dtype) == "float16"
    assert keras.backend.standardize_dtype(made.layout.rearranged(made.tensor).dtype) == "float16"
    assert keras.backend.standardize_dtype(grid.dtype) == "float32"
    back = made.layout.from_grid(grid, like=made.tensor)
    assert keras.backend.standardize_dtype(back.dtype) == "float16"
    np.testing.assert_array_equal(ops.convert_to_numpy(back), made.values)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_symbolic_tensor_is_rearranged_for_any_number_of_images(name):
    """As the sub-models need it, which hold what they do as operations."""
    made = Made(name)
    inputs = keras.Input(batch_shape=(None, *made.values.shape[1:]))
    model = keras.Model(inputs, made.layout.rearranged(inputs) * 1)
    expected = ops.convert_to_numpy(made.layout.to_grid(made.tensor))
    np.testing.assert_array_equal(ops.convert_to_numpy(model(made.values)), expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_in_a_compiled_function_of_any_number_of_images(tf, name):
    made = Made(name)

    @tf.function(input_signature=[tf.TensorSpec((None, *made.values.shape[1:]), tf.float32)])
    def there_and_back(tensor):
        grid = made.layout.to_grid(tensor)
        return grid, made.layout.from_grid(grid, like=tensor)

    grid, back = there_and_back(made.tensor)
    np.testing.assert_array_equal(grid, made.layout.to_grid(made.tensor))
    np.testing.assert_array_equal(back, made.values)


# by hand


def test_only_what_lies_as_it_should_is_plain():
    assert [name for name in LAYOUTS if Made(name).layout.is_plain] == ["plain", "every other cell"]


def test_channels_first_by_hand():
    layout = Made("channels first").layout
    two_channels_of_two_rows = ops.convert_to_tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    assert ops.convert_to_numpy(layout.to_grid(two_channels_of_two_rows)).tolist() == [[[[1, 3]], [[2, 4]]]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", []),
        ("tokens behind a prefix", [(3, 2, 2)]),
        ("tokens before a suffix", [(3, 1, 2)]),
        ("tokens behind a prefix and before a suffix", [(3, 1, 2), (3, 4, 2)]),
        ("tokens round rows and columns", [(3, 1, 8, 2), (3, 4, 1, 2), (3, 4, 1, 2)]),
    ],
)
def test_tokens_are_what_has_no_place_each_once(name, expected):
    made = Made(name)
    found = [ops.convert_to_numpy(part) for part in made.layout.tokens(made.tensor)]
    assert [part.shape for part in found] == expected
    assert all((part < 0).all() for part in found)
    assert sum(part.size for part in found) == (made.values < 0).sum()


def test_what_tokens_add_to_a_mean_by_hand():
    """The mean over three tokens is 4: 2 / 3 of the one in front, and of 3 and 7 on the grid the rest."""
    inputs = keras.Input((1, 2, 1))
    padded = ops.pad(ops.reshape(inputs, (-1, 2, 1)), ((0, 0), (1, 0), (0, 0)))
    program = trace(keras.Model(inputs, padded))
    layout = layout_in(places_in(program, 0), program.outputs[0], program.shape(program.outputs[0]))
    tensor = ops.convert_to_tensor([[[2.0], [3.0], [7.0]]])
    ((token,),) = ops.convert_to_numpy(layout.tokens(tensor)[0])
    grid = ops.convert_to_numpy(layout.to_grid(tensor))
    assert grid.tolist() == [[[[3.0], [7.0]]]] and token.tolist() == [2.0]
    np.testing.assert_allclose(token[0] / 3 + grid.sum() / 3, 4)


def test_frames_in_the_batch():
    """A film through a network for pictures: all frames are one batch, and a grid of time, rows and columns again."""
    inputs = keras.Input((5, 4, 6, 2))
    program = trace(keras.Model(inputs, layers.TimeDistributed(layers.ReLU())(inputs)))
    places = places_in(program, 0)
    slot = next(slot for slot in places.by_slot if len(program.shape(slot)) == 4)
    layout = layout_in(places, slot, program.shape(slot))
    film = np.random.default_rng(0).uniform(size=(3, 5, 4, 6, 2)).astype("float32")
    frames = ops.convert_to_tensor(film.reshape(15, 4, 6, 2))
    np.testing.assert_array_equal(ops.convert_to_numpy(layout.to_grid(frames)), film)
    back = layout.from_grid(layout.to_grid(frames), like=frames)
    np.testing.assert_array_equal(ops.convert_to_numpy(back), film.reshape(15, 4, 6, 2))


def test_axes_of_any_length_are_as_long_as_the_tensor_has_them():
    inputs = keras.Input((None, None, 2))
    program = trace(keras.Model(inputs, ops.transpose(inputs, (0, 3, 2, 1))))
    layout = layout_in(places_in(program, 0), program.outputs[0], program.shape(program.outputs[0]))
    image = np.random.default_rng(0).uniform(size=(2, 5, 7, 2)).astype("float32")
    swapped = ops.convert_to_tensor(image.transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(ops.convert_to_numpy(layout.to_grid(swapped)), image)
    assert layout.rearranged(keras.KerasTensor((None, 2, None, None))).shape == (None, None, None, 2)


@pytest.mark.parametrize("channels_first", [False, True])
def test_a_map_that_is_not_placed_is_taken_as_it_lies(channels_first):
    """Of a layer that says nothing of where its cells come from, the axes are those of the image."""

    class Shuffle(layers.Layer):
        def call(self, x):
            return ops.take(x, np.random.default_rng(0).permutation(x.shape[2]), axis=2)

    shape = (2, 4, 6) if channels_first else (4, 6, 2)
    inputs = keras.Input(shape)
    x = layers.MaxPooling2D(1, data_format="channels_first")(inputs) if channels_first else inputs
    program = trace(keras.Model(inputs, Shuffle()(x)))
    places, slot = places_in(program, 0), program.outputs[0]
    assert slot in places.unplaced
    layout = layout_in(places, slot, program.shape(slot))
    assert layout.is_plain is not channels_first
    tensor = np.random.default_rng(0).uniform(size=(3, *shape)).astype("float32")
    expected = tensor.transpose(0, 2, 3, 1) if channels_first else tensor
    np.testing.assert_array_equal(ops.convert_to_numpy(layout.to_grid(ops.convert_to_tensor(tensor))), expected)

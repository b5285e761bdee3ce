"""class_activation_map: by hand, against the paper's loops, one trace, wherever TensorFlow runs it."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference

from keras_cam import class_activation_map
from keras_cam.attribution.class_activation_map import _compiled
from keras_cam.errors import InvalidOptionError

# One image, 2 x 2 cells, 2 channels.
FEATURES = np.array([[[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 1.0]]]], np.float32)


def call(features, weights, **options):
    return np.asarray(class_activation_map(features, weights, **options))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# by hand


def test_one_class_by_hand():
    maps = call(FEATURES, np.array([[10.0], [1.0]], np.float32))
    assert maps[0, :, :, 0].tolist() == [[12, 1], [30, 11]]


def test_two_classes_by_hand_keep_their_sign():
    maps = call(FEATURES, np.array([[10.0, 0.0], [1.0, -1.0]], np.float32))
    assert maps.shape == (1, 2, 2, 2) and maps.dtype == np.float32
    assert maps[0, :, :, 0].tolist() == [[12, 1], [30, 11]]
    assert maps[0, :, :, 1].tolist() == [[-2, -1], [0, -1]]


def test_a_class_per_image_by_hand():
    maps = call(np.concatenate([FEATURES] * 3), np.array([[10.0, 1.0], [0.0, -1.0], [1.0, 0.0]], np.float32))
    assert maps.tolist() == [[[12, 1], [30, 11]], [[-2, -1], [0, -1]], [[1, 0], [3, 1]]]


def test_classes_per_image_by_hand():
    weights = np.array([[[10.0, 0.0], [1.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]]], np.float32)
    maps = call(np.concatenate([FEATURES] * 2), weights)
    assert np.moveaxis(maps, -1, 1).tolist() == [
        [[[12, 1], [30, 11]], [[-2, -1], [0, -1]]],
        [[[1, 0], [3, 1]], [[2, 1], [0, 1]]],
    ]


def test_a_square_matrix_is_read_as_it_is_told():
    features = np.concatenate([FEATURES] * 2)
    weights = np.array([[10.0, 0.0], [1.0, -1.0]], np.float32)
    assert call(features, weights, per_image=False)[0, 0, 0].tolist() == [12, -2]
    assert call(features, weights, per_image=True)[:, 0, 0].tolist() == [10, -1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(dtype):
    """4097 ones: a sum kept in float16 stops at 2048, one in bfloat16 at 256."""
    features, weights = keras.ops.ones((1, 1, 4097), dtype), keras.ops.ones((4097, 1), dtype)
    assert call(features, weights).tolist() == [[[4097]]]


# against the paper's sum


@st.composite
def problems(draw):
    rank = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(1, 4)) for _ in range(rank)), draw(st.integers(1, 5)))
    form = draw(st.sampled_from(["shared", "one class per image", "classes per image"]))
    return shape, form, draw(st.integers(1, 4)), draw(st.sampled_from(["float32", "float16", "bfloat16"]))


@given(problem=problems(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_agrees_with_the_loops_of_the_paper(problem, seed):
    (num_images, *grid, num_channels), form, num_classes, dtype = problem
    features = keras.ops.cast(random(num_images, *grid, num_channels, seed=seed), dtype)
    shape = {
        "shared": (num_channels, num_classes),
        "one class per image": (num_images, num_channels),
        "classes per image": (num_images, num_channels, num_classes),
    }[form]
    weights = keras.ops.cast(random(*shape, seed=seed + 1), dtype)
    maps = call(features, weights, per_image=form != "shared")

    exact_features, exact_weights = (np.asarray(keras.ops.cast(each, "float32")) for each in (features, weights))
    if form == "one class per image":
        expected = reference.cam(exact_features, exact_weights[..., np.newaxis])[..., 0]
    else:
        expected = reference.cam(exact_features, exact_weights)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)


def test_integers_and_lists_are_numbers_too():
    maps = call(FEATURES.astype("uint8"), [[10], [1]])
    assert maps.dtype == np.float32 and maps[0, :, :, 0].tolist() == [[12, 1], [30, 11]]


def test_order_of_the_batch_changes_nothing():
    features, weights = random(4, 3, 2, 5), random(5, 2, seed=1)
    np.testing.assert_array_equal(call(features[::-1], weights), call(features, weights)[::-1])


# compiled


@pytest.mark.usefixtures("tf")  # JAX: one for every size, see test_backends.py
def test_one_trace_for_every_size():
    """float64 by float16 is a pair that nothing else here compiles."""
    sizes = [(1, 2, 2, 3, 1), (5, 2, 2, 3, 1), (1, 7, 4, 3, 1), (1, 2, 2, 6, 1), (1, 2, 2, 3, 9), (2, 3, 4, 5, 6)]
    for *shape, num_classes in sizes:
        call(np.ones(shape, "float64"), np.ones((shape[-1], num_classes), "float16"), per_image=False)
    assert _compiled(4, 2, ("float64", "float16"), False, "tensorflow").traces == 1


FORMS = {
    "shared": ((2, 3, 4, 5), (5, 3)),
    "one class per image": ((2, 3, 4, 5), (2, 5)),
    "classes per image": ((2, 3, 4, 5), (2, 5, 3)),
    "volume": ((2, 2, 3, 4, 5), (5, 3)),
}


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("form", FORMS)
def test_inside_a_function_of_yours(tf, form, jit_compile):
    feature_shape, weight_shape = FORMS[form]
    features, weights = random(*feature_shape), random(*weight_shape, seed=1)
    function = tf.function(class_activation_map, jit_compile=jit_compile)
    maps = function(tf.constant(features), tf.constant(weights))
    np.testing.assert_allclose(maps, call(features, weights), atol=1e-5)


def test_inside_a_function_whose_sizes_are_open(tf):
    function = tf.function(
        class_activation_map,
        input_signature=[tf.TensorSpec((None, None, None, None), tf.float16), tf.TensorSpec((None, None))],
        jit_compile=True,
    )
    for shape in ((1, 2, 3, 4), (3, 5, 2, 6)):
        features, weights = random(*shape).astype("float16"), random(shape[-1], 2, seed=1)
        expected = reference.cam(features, weights)
        np.testing.assert_allclose(function(features, weights), expected, rtol=1e-5, atol=1e-5)
    assert function.experimental_get_tracing_count() == 1


def test_gradients_pass(tf):
    """The derivative of a map's sum by a weight is the sum of its channel."""
    weights = tf.Variable(random(2, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(class_activation_map(FEATURES, weights))
    assert tape.gradient(total, weights).numpy().ravel().tolist() == [5, 4]


REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, keras_cam
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
features = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 5)).astype("float32")
weights = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")
expected = np.einsum("rnhwk,kc->rnhwc", features, weights)

def replica(shard):
    return keras_cam.class_activation_map(shard, weights)

shards = strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(features[context.replica_id_in_sync_group]))
for run in (strategy.run, tf.function(strategy.run)):
    results = strategy.experimental_local_results(run(replica, args=(shards,)))
    np.testing.assert_allclose(results, expected, atol=1e-5)
    if run == strategy.run:  # a tf.function hands its results over on the first device
        assert [result.device[-5:] for result in results] == ["CPU:0", "CPU:1"]

with strategy.scope():
    model = keras.Sequential([keras.Input((6, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
                              keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
images = np.random.default_rng(2).uniform(size=(4, 6, 8, 3)).astype("float32")
explainer = keras_cam.Explainer(model)
before = explainer(images, "all")
model.fit(images, np.arange(4) % 3, verbose=0)
for result in (explainer(images, "all"), keras_cam.explain(model, images, classes="all")):
    np.testing.assert_allclose(result.probabilities, model.predict(images, verbose=0), atol=1e-6)
    assert result.completeness.min() > 1 - 1e-5
    assert abs(result.maps - before.maps).max() > 1e-4
print("good")
"""


@pytest.mark.usefixtures("tf")
def test_on_two_replicas(tmp_path):
    """MirroredStrategy on two logical devices, which must be set up before TensorFlow starts: a process of its own."""
    run = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.stdout.strip().endswith("good"), run.stderr


# what does not fit


@pytest.mark.parametrize(
    ("features", "weights", "options", "words"),
    [
        ((2, 5), (5, 3), {}, ["at least one spatial axis", "(2, 5)", "(N, ..., K)"]),
        ((2, 3, 4, 5), (5,), {}, ["(K, C), (N, K) or (N, K, C)", "(5,)"]),
        ((2, 3, 4, 5), (5, 3, 2, 1), {}, ["(K, C), (N, K) or (N, K, C)", "(5, 3, 2, 1)"]),
        ((2, 3, 4, 5), (4, 3), {}, ["(2, 3, 4, 5)", "(4, 3)", "Dense kernel"]),
        ((2, 3, 4, 5), (3, 5, 4), {}, ["(2, 3, 4, 5)", "(3, 5, 4)", "N=2", "K=5"]),
        ((2, 3, 4, 5), (5, 3), {"per_image": True}, ["(5, 3)", "N=2", "K=5"]),
        ((2, 3, 4, 5), (2, 5), {"per_image": False}, ["(2, 5)", "(K=5, C)"]),
        ((5, 3, 4, 5), (5, 5), {}, ["(K, C) and as (N, K)", "per_image=True"]),
    ],
)
def test_shapes_that_do_not_fit(features, weights, options, words):
    with pytest.raises(InvalidOptionError) as caught:
        class_activation_map(np.ones(features), np.ones(weights), **options)
    assert [word for word in words if word not in str(caught.value)] == []

"""Training is left alone by the callback, whatever is switched on, goes wrong, or shares the work."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
import tracemalloc

import keras
import numpy as np
import pytest
from support.callback_models import (
    eye,
    fit,
    spots,
    steps,
)
from support.trainings import colours, network, train

from keras_cam import CAMCallback

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


BACKEND = keras.backend.backend()


def data(count=6):
    generator = np.random.default_rng(0)
    return spots(generator.integers(0, 12, (count, 2)).tolist(), np.arange(count) % 3), np.arange(count) % 3


def everything(directory, **options):
    """The callback with all that it can do."""
    return CAMCallback(
        data(12),
        directory / "logs",
        every="2 batches",
        num_probes=4,
        probes="worst",
        classes=["predicted", "true", "top2", 0],
        boxes=[(0, 0, 9, 9)] * 12,
        before_training=True,
        save_dir=directory / "pictures",
        on_look=lambda look: None,
        on_error="raise",
        **options,
    )


def random_network(wrap=keras.Model, **compiled):
    """Dropout, noise, flips and moving averages: whatever a second reader could upset."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    x = layers.GaussianNoise(0.1)(layers.RandomFlip()(inputs))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    model = wrap(inputs, layers.Dense(3, activation="softmax", dtype="float32")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", **compiled)
    return model


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


class CustomStep(keras.Model):
    """Trains by a step of its own, which the backend's trainer calls."""

    def train_step(self, *arguments):
        return super().train_step(*arguments)


KINDS = {
    "plain": {},
    "steps_per_execution": {"steps_per_execution": 4},
    "jit_compile": {"jit_compile": True},
    "custom train_step": {"wrap": CustomStep},
    "mixed_bfloat16": {},
    "mixed_float16": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_to_the_last_bit(tmp_path, kind):
    if BACKEND == "torch" and kind in ("jit_compile", "steps_per_execution"):
        pytest.skip("Keras on torch executes one step at a time, and compiles with a C++ compiler that may be missing")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(kind if kind.startswith("mixed") else "float32")
    try:
        models = [random_network(**KINDS[kind])]
        fit(models[0], data(16), epochs=2, batch_size=2)
        plain, draws = state(models[0]), (np.random.uniform(), float(keras.random.uniform(())))
        models.append(random_network(**KINDS[kind]))
        fit(models[1], data(16), everything(tmp_path), epochs=2, batch_size=2)
        watched, draws_after = state(models[1]), (np.random.uniform(), float(keras.random.uniform(())))
    finally:
        keras.config.set_dtype_policy(before)
    assert draws == draws_after
    assert len(plain) == len(watched) > 10
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)
    expected = [0, 4, 8, 12, 16] if kind == "steps_per_execution" else [0, 1, 2, 4, 6, 8, 10, 12, 14, 16]
    assert steps(tmp_path / "logs" / "cam", "cam/probe_00") == expected


def test_weights_are_the_same_to_the_last_bit(tf, tmp_path):
    """With dropout, noise and flips in the model, and shuffled data."""

    def weights(*callbacks):
        keras.utils.clear_session()  # or, up to Keras 3.12, the seed below would not start the random numbers anew
        model = network(augment=True)
        images, labels = colours()
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(24).batch(8)
        before = [(layer.name, layer.trainable) for layer in model.layers]
        train(model, *callbacks)  # arrays, shuffled by Keras
        model.fit(dataset, epochs=2, verbose=0, callbacks=list(callbacks))  # shuffled by tf.data
        assert before == [(layer.name, layer.trainable) for layer in model.layers]
        everything = [*model.get_weights(), *(np.asarray(variable) for variable in model.optimizer.variables)]
        return everything, np.random.uniform(), float(keras.random.uniform(()))

    plain, *draws = weights()
    images, labels = colours()
    validation = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(24, seed=1).batch(8)
    arrays = CAMCallback((images, labels), tmp_path / "arrays", on_error="raise")
    dataset = CAMCallback(validation, tmp_path / "dataset", on_error="raise")
    watched, *draws_after = weights(arrays, dataset)
    assert draws == draws_after
    assert len(plain) == len(watched)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)


SEVERAL_DEVICES = """
    import os, sys
    import numpy as np, keras
    from support.callback_models import eye, fit, scalar, spots, steps
    from keras_cam import CAMCallback
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        scopes = {"mirrored": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope}
    else:
        import jax
        assert len(jax.devices()) == 2
        parallel = keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
        scopes = {"parallel": parallel.scope}
    labels = np.array([0, 1, 2, 0] * 2)
    images = spots([(2, 2), (9, 9), (3, 8), (8, 1)] * 2, labels) + np.float32(0.01)
    for name, scope in scopes.items():
        with scope():
            model = eye(learning_rate=0.1)
            weights = []
            for options in ([], [CAMCallback((images, labels), name, boxes=[(0, 0, 8, 8)] * 8, on_error="raise")]):
                model = eye(learning_rate=0.1)
                fit(model, (images, labels), *options, epochs=3, batch_size=4, shuffle=False)
                weights.append([keras.ops.convert_to_numpy(each) for each in model.variables])
            for one, other in zip(*weights, strict=True):
                np.testing.assert_array_equal(one, other)
            truth = model.predict(images, verbose=0)[np.arange(8), labels].mean()
        assert steps(name + "/cam", "cam/probe_07") == [0, 1, 2], "once an epoch, not once a device"
        found = scalar(name + "/cam", "cam/probability_of_true_class")[2]
        assert abs(found - truth) < 1e-6, (found, truth)
        print(name, "done")
"""


def test_two_devices(tmp_path):
    """MirroredStrategy with TensorFlow, keras.distribution.DataParallel with JAX; in a process of its own."""
    if BACKEND == "torch":
        pytest.skip("Keras on torch trains on one device")
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    script = textwrap.dedent(SEVERAL_DEVICES)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0 and "done" in done.stdout, done.stderr[-3000:]


# what is kept


@pytest.mark.parametrize("interrupted", [False, True])
def test_copies_before_and_after_training(tmp_path, interrupted):
    def interrupt(epoch, logs):
        if interrupted:
            raise KeyboardInterrupt

    callback = CAMCallback(data(), tmp_path / "logs", num_probes=1, save_dir=tmp_path / "pictures", on_error="raise")
    copies = [pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)]
    try:
        fit(eye(), data(), callback, keras.callbacks.LambdaCallback(on_epoch_end=interrupt))
    except KeyboardInterrupt:
        assert interrupted
    copies += [pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback), copy.copy(callback)]
    for index, other in enumerate(copies):
        fit(eye(), data(), other, epochs=index + 2, initial_epoch=index + 1)
    assert sorted(set(steps(tmp_path / "logs" / "cam", "cam/probe_00"))) == [0, 1, 2, 3, 4, 5]


def test_looks_leave_nothing_behind(tmp_path):
    """A kept look would be 8 kB and more: its pictures and maps."""
    held = {}

    def measure(look):
        if look.step in (10, 60):
            gc.collect()
            held[look.step] = tracemalloc.get_traced_memory()[0]

    callback = CAMCallback(data(), tmp_path, num_probes=1, every="1 batch", on_look=measure, on_error="raise")
    tracemalloc.start()
    try:
        fit(eye(), data(60), callback, batch_size=1)
    finally:
        tracemalloc.stop()
    assert held[60] - held[10] < 50 * 2000


# who writes


def test_only_the_chief_writes(tf, tmp_path):
    """As a worker of MultiWorkerMirroredStrategy: its strategy says that it saves no summaries."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")

    class Worker(type(strategy.extended)):
        should_save_summary = property(lambda self: False)

    strategy.extended.__class__ = Worker
    callback = CAMCallback(data(), tmp_path / "logs", save_dir=tmp_path / "pictures", on_error="raise")
    with strategy.scope():
        history = fit(eye(), data(), callback, epochs=2).history
    assert os.listdir(tmp_path) == [] and list(history) == ["loss"]

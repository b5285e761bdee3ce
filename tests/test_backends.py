"""The core on whatever backend Keras runs on (KERAS_BACKEND): every head exact, following training, nothing left over.

`tox -e jax` and `tox -e torch` run this and all other tests where TensorFlow is not installed.
"""

import gc
import importlib
import importlib.util
import os
import subprocess
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from support import small_models
from support.small_models import arrays
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import keras_cam
from keras_cam import CAMCallback, Explainer, build_cam_model, class_weights, compute_cam, explain
from keras_cam.backend import gradient

BACKEND = keras.backend.backend()
PICTURES = small_models.images()
TABLE = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")


def maps_of_images(inputs, channels=4, **options):
    return layers.Conv2D(channels, 3, padding="same", activation="relu", **options)(inputs)


def chain(*head):
    """A model of 12 x 20 feature maps and this head."""
    inputs = keras.Input(PICTURES.shape[1:])
    x = maps_of_images(inputs, name="maps")
    for layer in head:
        x = layer(x)
    return keras.Model(inputs, x)


def scores(activation="softmax"):
    return layers.Dense(3, activation=activation, name="scores")


def squeeze_and_excite():
    inputs = keras.Input(PICTURES.shape[1:])
    x = layers.GlobalAveragePooling2D()(maps_of_images(inputs))
    return keras.Model(inputs, scores()(layers.Multiply()([x, layers.Dense(4, activation="sigmoid")(x)])))


def two_scales():
    inputs = keras.Input(PICTURES.shape[1:])
    fine = maps_of_images(inputs)
    pooled = [layers.GlobalAveragePooling2D()(x) for x in (fine, maps_of_images(fine, strides=2))]
    return keras.Model(inputs, scores()(layers.Dense(5, activation="gelu")(layers.Concatenate()(pooled))))


def beside_a_table():
    inputs, table = keras.Input(PICTURES.shape[1:]), keras.Input((2,))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(maps_of_images(inputs)), table])
    return keras.Model([inputs, table], scores()(layers.Dense(6, activation="relu")(x)))


@keras.saving.register_keras_serializable("keras_cam_tests")
class Subclassed(keras.Model):
    """Written with `call`, no graph of its own."""

    def __init__(self):
        super().__init__()
        self.maps = layers.Conv2D(4, 3, activation="relu", name="maps")
        self.pool, self.hidden, self.scores = layers.GlobalAveragePooling2D(), layers.Dense(5, "relu"), scores()

    def call(self, inputs):
        return self.scores(self.hidden(self.pool(self.maps(inputs))))


def subclassed():
    model = Subclassed()
    model(PICTURES)
    return model


GAP = layers.GlobalAveragePooling2D
HEADS = {
    "ReLU": lambda: chain(GAP(), layers.Dense(6, activation="relu"), scores()),
    "GELU, layer norm": lambda: chain(GAP(), layers.LayerNormalization(), layers.Dense(6, activation="gelu"), scores()),
    "squeeze and excite": squeeze_and_excite,
    "max pooling": lambda: chain(layers.GlobalMaxPooling2D(), scores()),
    "flatten": lambda: chain(layers.Flatten(), scores()),
    "flatten, ReLU": lambda: chain(layers.Flatten(), layers.Dense(20, activation="relu"), scores()),
    "two scales": two_scales,
    "beside a table": beside_a_table,
    "subclassed": subclassed,
    "one unit": lambda: chain(GAP(), layers.Dense(6, activation="silu"), layers.Dense(1, activation="sigmoid")),
}
every_head = pytest.mark.parametrize("name", HEADS)


def inputs_of(name):
    return [PICTURES, TABLE] if name == "beside a table" else PICTURES


def compiled(model):
    loss = "binary_crossentropy" if model.layers[-1].units == 1 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def train(model, inputs=PICTURES):
    compiled(model).train_on_batch(inputs, np.arange(3) % max(2, model.layers[-1].units))


# every head


@every_head
def test_map_and_bias_are_the_score_before_and_after_training(name):
    model = HEADS[name]()
    explainer = Explainer(model)
    before = explainer(inputs_of(name), "all")
    train(model, inputs_of(name))
    after = explainer(inputs_of(name), "all")
    for result in (before, after):
        summed = result.maps.mean(axis=(2, 3), dtype="float64") + result.bias
        np.testing.assert_allclose(summed, result.logits, rtol=0, atol=1e-5 * max(1, np.abs(result.logits).max()))
    expected = model.predict(inputs_of(name), verbose=0)
    expected = np.concatenate([1 - expected, expected], axis=1) if name == "one unit" else expected
    np.testing.assert_allclose(after.probabilities, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(after.logits - before.logits).max() > 1e-4
    np.testing.assert_allclose(after.maps, explain(model, inputs_of(name), classes="all").maps, rtol=1e-5, atol=1e-6)


@every_head
def test_one_class_is_that_of_all(name):
    """All classes go through the head apart from the forward pass, one class in the same compiled function."""
    model = HEADS[name]()
    some, every = (explain(model, inputs_of(name), classes=classes) for classes in ([1, "top1"], "all"))
    indices = some.class_indices[:, :, np.newaxis, np.newaxis]
    np.testing.assert_allclose(some.maps, np.take_along_axis(every.maps, indices, 1), rtol=1e-4, atol=1e-5)


def test_maps_of_a_flattening_head_by_numpy():
    model = HEADS["flatten"]()
    features = arrays(keras.Model(model.input, model.get_layer("maps").output)(PICTURES))
    kernel, bias = model.get_layer("scores").get_weights()
    cells = features[..., np.newaxis] * kernel.reshape(12, 20, 4, 3)
    result = explain(model, PICTURES, classes="all")
    np.testing.assert_allclose(result.maps, 12 * 20 * np.moveaxis(cells.sum(axis=3), -1, 1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result.bias, np.tile(bias, (3, 1)), atol=1e-6)


def test_maps_of_a_head_of_relus_by_numpy():
    """The ReLUs that are open for this image let the weights through."""
    model = HEADS["ReLU"]()
    features = arrays(keras.Model(model.input, model.get_layer("maps").output)(PICTURES))
    hidden, hidden_bias, last, _ = model.get_weights()[2:]
    is_open = features.mean(axis=(1, 2)) @ hidden + hidden_bias > 0
    weights = np.einsum("kh,nh,hc->nkc", hidden, is_open, last)
    expected = np.einsum("nijk,nkc->ncij", features, weights)
    np.testing.assert_allclose(explain(model, PICTURES, classes="all").maps, expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_by_hand():
    """Of sum(a^2 b) by a, b, and by c, which it does not depend on; and what depends on nothing at all."""
    points = [keras.ops.convert_to_tensor(np.array(values, "float32")) for values in ([1, 2], [3, 5], [7])]
    slopes, product = gradient(lambda given: (keras.ops.sum(given[0] ** 2 * given[1]), given[0] * given[1]), points)
    assert [slope.tolist() for slope in arrays(slopes)] == [[6, 20], [1, 4], [0]]
    assert arrays(product).tolist() == [3, 10]
    slopes, _ = gradient(lambda given: (keras.ops.convert_to_tensor(2.0), given[0]), points)
    assert [slope.tolist() for slope in arrays(slopes)] == [[0, 0], [0, 0], [0]]


# nothing stale, nothing shared


def test_results_stay_when_the_model_trains_on():
    """No result is a view of weights that an optimizer writes to."""
    model = compiled(small_models.model("functional", fresh=True))
    result, (kernel, bias) = explain(model, PICTURES, classes="all"), class_weights(model)
    held = [result.maps, result.bias, result.logits, result.probabilities, kernel, bias]
    copies = [array.copy() for array in held]
    model.fit(PICTURES, np.arange(3), epochs=2, verbose=0)
    for array, copy in zip(held, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    kernel[:] = 0
    assert np.abs(model.get_layer("scores").get_weights()[0]).max() > 0


def test_lora_enabled_later_is_followed():
    model = HEADS["ReLU"]()
    explainer = Explainer(model)
    before = explainer(PICTURES, "all")
    adapted = model.get_layer("scores")
    adapted.enable_lora(2)
    adapted.lora_kernel_b.assign(np.random.default_rng(0).normal(size=adapted.lora_kernel_b.shape))
    after = explainer(PICTURES, "all")
    np.testing.assert_allclose(after.probabilities, model.predict(PICTURES, verbose=0), rtol=1e-5, atol=1e-6)
    assert np.abs(after.maps - before.maps).max() > 1e-3 and after.completeness.min() > 1 - 1e-4
    adapted.lora_kernel_b.assign(np.zeros(adapted.lora_kernel_b.shape))
    np.testing.assert_allclose(explainer(PICTURES, "all").maps, before.maps, rtol=1e-4, atol=1e-5)


def test_set_weights_are_followed_by_sub_models_too():
    model = small_models.model("nested", fresh=True)
    cam_model = build_cam_model(model)
    explain(model, PICTURES)
    model.set_weights([weight * 1.5 for weight in model.get_weights()])
    found = arrays(cam_model(PICTURES))
    np.testing.assert_array_equal(found["predictions"], arrays(model(PICTURES)))
    maps = explain(model, PICTURES, classes="all").maps
    np.testing.assert_allclose(np.moveaxis(found["cams"], -1, 1), maps, rtol=1e-5, atol=1e-5)


def test_a_model_is_let_go():
    model = HEADS["flatten, ReLU"]()
    compute_cam(model, PICTURES)
    alive = weakref.ref(model)
    del model
    gc.collect()
    gc.collect()
    assert alive() is None


# while it trains


def summaries(directory):
    (name,) = os.listdir(directory)
    events = EventFileLoader(os.path.join(directory, name)).Load()
    return {(value.tag, event.step) for event in events for value in event.summary.value}


def test_the_callback_draws_and_leaves_training_alone(tmp_path):
    """With dropout, noise and flips, and a head that takes a gradient; the model is also explained at every batch."""

    def weights(*more):
        keras.utils.set_random_seed(5)
        model = keras.Sequential(
            [
                keras.Input(PICTURES.shape[1:]),
                layers.RandomFlip(),
                layers.GaussianNoise(0.1),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(6, activation="relu"),
                layers.Dropout(0.5),
                layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        callbacks = [callback(model) for callback in more]
        model.fit(np.tile(PICTURES, (4, 1, 1, 1)), np.arange(12) % 3, 4, 2, verbose=0, callbacks=callbacks)
        return model.get_weights()

    def draw(model):
        return CAMCallback((PICTURES, np.arange(3)), tmp_path, num_probes=2, on_error="raise")

    seen = []

    def at_every_batch(model):
        return keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append(explain(model, PICTURES, classes=0).logits)
        )

    plain, watched = weights(), weights(draw, at_every_batch)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({logits.tobytes() for logits in seen}) == 6, "the weights as they are at each batch"
    found = summaries(tmp_path / "cam")
    assert {(f"cam/probe_{probe:02d}", step) for probe in range(2) for step in range(2)} <= found
    assert ("cam/moved_since_last", 1) in found


# what each backend has of its own


@keras.saving.register_keras_serializable("keras_cam_tests")
class CountsRuns(layers.Layer):
    """Counts how often Python runs it, which under a compiler is once a trace."""

    runs = 0

    def call(self, inputs):
        CountsRuns.runs += 1
        return inputs


@pytest.mark.skipif(BACKEND != "jax", reason="how JAX compiles")
@pytest.mark.parametrize("head", ["matrix", "ReLU"])
def test_jax_compiles_once_for_every_shape(head):
    hidden = [layers.Dense(6, activation="relu")] if head == "ReLU" else []
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(maps_of_images(CountsRuns()(inputs)))
    for layer in (*hidden, scores()):
        x = layer(x)
    model = keras.Model(inputs, x)
    explainer = Explainer(model)
    rng = np.random.default_rng(0)
    shapes = ((1, 8, 9), (2, 8, 9), (2, 5, 6))
    for shape in shapes:
        explainer(rng.uniform(size=(*shape, 3)), 0)
        explainer(rng.uniform(size=(*shape, 3)), "all")
    for _ in range(2):
        runs = CountsRuns.runs
        for shape in shapes:
            for classes in (0, 1, "top1", np.zeros(shape[0], int), "all"):
                explainer(rng.uniform(size=(*shape, 3)), classes)
                compute_cam(model, rng.uniform(size=(*shape, 3)), classes)
        assert CountsRuns.runs == runs
        train(model)


@pytest.mark.skipif(BACKEND != "jax", reason="how JAX compiles")
@pytest.mark.parametrize("name", ["flatten", "ReLU"])
def test_jax_gets_the_weights_as_arguments(name, monkeypatch):
    """No weight is baked into the program as a constant: constants would be stale, and twice in memory."""
    import jax

    model = HEADS[name]()
    programs = []
    jit = jax.jit

    def watched(function):
        def call(*arguments):
            programs.append(jax.make_jaxpr(function)(*arguments))
            return jit(function)(*arguments)

        return call

    monkeypatch.setattr(jax, "jit", watched)
    explain(model, PICTURES, classes=0)
    assert programs
    largest = max((np.size(constant) for program in programs for constant in program.consts), default=0)
    assert largest < min(weight.size for weight in model.get_weights() if weight.ndim > 1)


@pytest.mark.skipif(BACKEND != "jax", reason="how JAX multiplies")
@pytest.mark.parametrize("shape", [(5, 3), (2, 5), (2, 5, 3)])
def test_jax_products_are_of_full_precision_also_inside_a_function_of_yours(shape):
    """GPUs and TPUs round float32 factors to 10 or 8 bits unless they are told not to."""
    import jax

    features, weights = np.ones((2, 3, 4, 5), "bfloat16"), np.ones(shape, "float32")
    program = str(
        jax.make_jaxpr(
            lambda *given: keras_cam.class_activation_map(*given, per_image=len(shape) != 2 or shape[0] != 5)
        )(features, weights)
    )
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) == 1 and program.count("Precision.HIGHEST") >= 1
    assert "preferred_element_type=float32" in program


torch_only = pytest.mark.skipif(BACKEND != "torch", reason="how torch differentiates")


@torch_only
@every_head
def test_torch_parameters_keep_gradients_modes_and_flags(name):
    import torch

    model = HEADS[name]()
    # Without negative weights every class has positive evidence: compute_cam has nothing to warn of.
    model.set_weights([np.abs(weights) for weights in model.get_weights()])
    model.layers[1].trainable = False
    modules = list(model.modules())
    for number, module in enumerate(modules):
        module.training = number % 2 == 0
    parameters = list(model.parameters())
    for number, parameter in enumerate(parameters):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 3.0) if number % 2 == 0 else None

    def state():
        grads = [None if parameter.grad is None else parameter.grad.tolist() for parameter in parameters]
        flags = [parameter.requires_grad for parameter in parameters]
        kinds = [(id(parameter), parameter.grad_fn, parameter._version) for parameter in model.parameters()]
        return grads, flags, kinds, [module.training for module in modules], torch.is_grad_enabled()

    before = state()
    explain(model, inputs_of(name), classes="all")
    compute_cam(model, inputs_of(name))
    assert state() == before


@torch_only
@every_head
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "eval", "train", "frozen"])
def test_torch_modes_of_the_caller_change_nothing(name, mode):
    import torch

    model = HEADS[name]()
    expected = explain(model, inputs_of(name), classes="all").maps
    clone = type(model).from_config(model.get_config()) if name != "subclassed" else subclassed()
    clone.set_weights(model.get_weights())
    if mode == "frozen":
        clone.requires_grad_(False)
        found = explain(clone, inputs_of(name), classes="all").maps
    elif mode in ("eval", "train"):
        found = explain(getattr(clone, mode)(), inputs_of(name), classes="all").maps
    else:
        with getattr(torch, mode)():
            found = explain(clone, inputs_of(name), classes="all").maps
            assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
    np.testing.assert_array_equal(found, expected)


@torch_only
def test_torch_tensors_of_every_kind_are_images():
    import torch

    model = small_models.model("functional")
    expected = explain(model, PICTURES, classes="all").maps
    picture = torch.tensor(PICTURES)
    with torch.inference_mode():
        inference = picture.clone()
    for tensor in (picture, picture.clone().requires_grad_(True), picture.double(), inference):
        np.testing.assert_allclose(explain(model, tensor, classes="all").maps, expected, rtol=1e-5, atol=1e-6)
    half = explain(model, picture.bfloat16(), classes="all").maps
    np.testing.assert_allclose(half, expected, atol=0.05 * np.abs(expected).max())


@torch_only
def test_torch_data_loader_gives_probes(tmp_path):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model = compiled(small_models.model("functional", fresh=True))
    images, labels = torch.tensor(np.tile(PICTURES, (3, 1, 1, 1))), torch.arange(9) % 3
    loader = DataLoader(TensorDataset(images, labels), batch_size=4, shuffle=True)
    model.fit(loader, verbose=0, callbacks=[CAMCallback(loader, tmp_path, num_probes=3, on_error="raise")])
    assert ("cam/probe_02", 0) in summaries(tmp_path / "cam")


RAW_MEAN = {"tensorflow": "reduce_mean", "jax": "mean", "torch": "mean"}


def test_a_call_written_with_the_backends_own_operations():
    module = importlib.import_module({"jax": "jax.numpy"}.get(BACKEND, BACKEND))
    mean = getattr(module, RAW_MEAN[BACKEND])

    class Raw(keras.Model):
        def __init__(self):
            super().__init__()
            self.maps, self.scores = layers.Conv2D(4, 3, activation="relu", name="maps"), scores()

        def call(self, inputs):
            return self.scores(mean(self.maps(inputs), (1, 2)))

    model = Raw()
    model(PICTURES)
    result = explain(model, PICTURES, classes="all")
    assert result.completeness.min() > 1 - 1e-4
    np.testing.assert_allclose(result.probabilities, model.predict(PICTURES, verbose=0), rtol=1e-5, atol=1e-6)
    kernel = model.scores.get_weights()[0]
    expected = np.einsum("nijk,kc->ncij", arrays(model.maps(PICTURES)), kernel)
    np.testing.assert_allclose(result.maps, expected, rtol=1e-4, atol=1e-5)


# without the others

ALONE = """
import sys
for other in {"tensorflow", "jax", "torch"} - {sys.argv[1]}:
    sys.modules[other] = None  # importing it is an error
import keras, numpy as np, keras_cam
assert keras.backend.backend() == sys.argv[1]
layers = keras.layers
for pooling in (layers.GlobalAveragePooling2D(), layers.Flatten()):
    model = keras.Sequential([keras.Input((8, 9, 3)), layers.Conv2D(4, 3, activation="relu"), pooling,
                              layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).uniform(size=(6, 8, 9, 3)).astype("float32")
    data = images, np.arange(6) % 3
    explainer = keras_cam.Explainer(model)
    before = explainer(images, "all")
    model.fit(*data, verbose=0, callbacks=[keras_cam.CAMCallback(data, sys.argv[2], on_error="raise")])
    after = explainer(images, "all")
    np.testing.assert_allclose(after.probabilities, model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)
    assert min(before.completeness.min(), after.completeness.min()) > 1 - 1e-4
    assert abs(after.logits - before.logits).max() > 1e-5
print("good")
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_with_no_other_backend_there(tmp_path, backend):
    """From the training to the event files, in a process of its own, whichever backend this one runs on."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed here; see tox -e {backend}")
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(Path(keras_cam.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", ALONE, backend, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert run.stdout.strip().endswith("good"), run.stderr
    assert os.listdir(tmp_path) == ["cam"]

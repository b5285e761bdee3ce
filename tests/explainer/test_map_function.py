"""How often images go through the backbone, forward and back, and how many at once: what the costs of METHODS say."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cam import METHODS, Explainer, explain
from keras_cam.explainer.cache import CACHE_SIZE
from keras_cam.explainer.map_function import Batch, MapFunction, map_function_of
from keras_cam.methods import find_method

pytestmark = pytest.mark.usefixtures("tf")  # counts inside compiled functions
IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 10, 3)).astype("float32")
CHANNELS, CLASSES, SAMPLES, AT_ONCE = 4, 4, 3, 4


class Counted(layers.Layer):
    """Hands on what it gets, and notes how many images went through it each time, forward and back."""

    def __init__(self):
        super().__init__()
        self.forward, self.back = [], []

    def call(self, inputs):
        import tensorflow as tf

        def noted(notes, tensor):
            result = tf.numpy_function(lambda array: (notes.append(len(array)), array)[1], [tensor], tensor.dtype)
            return tf.ensure_shape(result, tensor.shape)

        @tf.custom_gradient
        def counted(tensor):
            return noted(self.forward, tensor), lambda upstream: noted(self.back, upstream)

        return counted(inputs)


@pytest.fixture(scope="module")
def network():
    """A backbone that counts, and four classes."""
    inputs = keras.Input(IMAGES.shape[1:])
    x = layers.Conv2D(3, 3, activation="relu", name="early")(Counted()(inputs))
    x = layers.Conv2D(CHANNELS, 3, activation="relu")(Counted()(x))
    x = layers.Dense(5, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def passes(network, method, classes, index=0, **options):
    """Images forward and back for each image explained, and the most at once, as one of the counters sees it."""
    counts = [layer for layer in network.layers if isinstance(layer, Counted)][index]
    options |= {"samples": SAMPLES} if "samples" in find_method(method, {}).options else {}
    explain(network, IMAGES, classes=classes, method=method, batch_size=AT_ONCE, **options)  # building it counts too
    counts.forward.clear(), counts.back.clear()
    explain(network, IMAGES, classes=classes, method=method, batch_size=AT_ONCE, **options)
    return sum(counts.forward) / len(IMAGES), sum(counts.back) / len(IMAGES), max(counts.forward + counts.back)


AT_PIXELS = [name for name, method in METHODS.items() if method.at_pixels]
OF_CELLS = {  # forward for each image, where that is not once
    "smooth_grad_cam_plus_plus": 1 + SAMPLES,
    "score_cam": 1 + CHANNELS,
    "ss_cam": 1 + SAMPLES * CHANNELS,
    "is_cam": 1 + SAMPLES * CHANNELS,
}
OF_PIXELS = {"smooth_grad": SAMPLES, "integrated_gradients": SAMPLES}
FEW = {"one": 2, "a list": [0, 3, "top1", 1], "all": "all"}


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize("classes", FEW)
@pytest.mark.parametrize("method", ["auto" if name == "cam" else name for name in METHODS if name not in AT_PIXELS])
def test_maps_of_cells_never_go_back_through_the_backbone(network, method, classes):
    """And forward once, whatever the number of classes, but for methods that change images."""
    forward, back, at_once = passes(network, method, FEW[classes])
    assert (forward, back) == (OF_CELLS.get(method, 1), 0)
    assert at_once <= AT_ONCE


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize("classes", FEW)
@pytest.mark.parametrize("method", AT_PIXELS)
def test_maps_of_pixels_go_forward_and_back_for_each_class(network, method, classes):
    """`batch_size` holds for images times classes, of a list as of all."""
    count, times = 1 if classes == "one" else CLASSES, OF_PIXELS.get(method, 1)
    parts = -(-count * len(IMAGES) // AT_ONCE)
    forward, back, at_once = passes(network, method, FEW[classes])
    if method == "full_grad":
        forward -= parts / len(IMAGES)  # an image for the shapes of what layers make of zeros
    assert (forward, back) == (1 + times * count, times * count)
    assert at_once <= AT_ONCE


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize("classes", ["a list", "all"])
@pytest.mark.parametrize("method", ["auto", "grad_cam", "smooth_grad_cam_plus_plus"])
def test_batch_size_holds_behind_an_early_layer(network, method, classes):
    """Where most of the backbone comes after the feature map, and is run for each class."""
    times = SAMPLES if method.startswith("smooth") else 1
    _, back, at_once = passes(network, method, FEW[classes], index=1, layer="early")
    assert back == times * CLASSES
    assert at_once <= AT_ONCE


PLANS = [  # method, options, classes asked for, images, plan
    ("cam", {}, 1, 2, "_run_whole"),
    ("grad_cam", {}, 1, 2, "_run_whole"),
    ("grad_cam", {}, 16, 2, "_run_whole"),
    ("grad_cam", {}, 17, 2, "_run_in_parts"),
    ("grad_cam", {}, None, 2, "_run_in_parts"),
    ("saliency", {}, 2, 2, "_run_whole"),
    ("saliency", {}, 3, 2, "_run_in_parts"),  # 2 images x 3 classes, 4 at once
    ("grad_cam", {"layer": "early"}, 3, 2, "_run_in_parts"),
    ("score_cam", {}, 1, 2, "_run_stepwise"),
    ("score_cam", {}, None, 2, "_run_stepwise"),
    ("smooth_grad", {}, 1, 2, "_run_in_parts"),
]


@pytest.mark.parametrize(("method", "options", "classes", "images", "plan"), PLANS)
def test_the_cheapest_plan_is_chosen(network, method, options, classes, images, plan):
    function = MapFunction(network, METHODS[method], **options)
    indices = None if classes is None else np.zeros((images, classes), "int32")
    assert function._plan_for(Batch([IMAGES[:images]], indices, AT_ONCE, 0)).__name__ == plan


@pytest.mark.parametrize("classes", [None, 1, 40])
def test_a_head_that_is_one_matrix_needs_no_parts(classes):
    """All classes at once, of which none costs a pass."""
    inputs = keras.Input(IMAGES.shape[1:])
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(CHANNELS, 3)(inputs))
    function = MapFunction(keras.Model(inputs, layers.Dense(50)(pooled)))
    indices = None if classes is None else np.zeros((2, classes), "int32")
    plan = function._plan_for(Batch([IMAGES], indices, AT_ONCE, 0))
    assert plan.__name__ == ("_run_folded" if classes is None else "_run_whole")


def test_parts_are_the_whole(network):
    """Of classes that do not divide into parts of one size."""
    for method in ("saliency", "integrated_gradients", "full_grad"):
        options = {"samples": 2} if method == "integrated_gradients" else {}
        whole, parts = (
            explain(network, IMAGES, classes=[3, 0, 1], method=method, batch_size=size, **options) for size in (32, 4)
        )
        np.testing.assert_allclose(parts.maps, whole.maps, rtol=0, atol=1e-5 * np.abs(whole.maps).max())
        np.testing.assert_array_equal(parts.class_indices, whole.class_indices)


def test_a_method_of_ones_own_is_held_to_it_too(network):
    def image_x_gradient(view):
        return keras.ops.sum(view.image_gradients() * keras.ops.expand_dims(view.images, 1), axis=-1)

    assert passes(network, image_x_gradient, "all") == (1 + CLASSES, CLASSES, AT_ONCE)


def test_parts_of_classes_are_traced_once(network):
    for method in ("saliency", "smooth_grad"):
        options = {"samples": SAMPLES} if method == "smooth_grad" else {}
        explainer = Explainer(network, method=method, batch_size=3, **options)
        for classes in ([0, 1, 2], [0, 1, 2, 3], "all", [1, 2]):
            explainer(IMAGES, classes)
        compiled = explainer._ensemble.functions[0].compiled
        functions = (compiled.part_of_classes, compiled.chosen_classes, compiled.forward, *compiled.pieces.values())
        assert {one.traces for one in functions} <= {0, 1} and sum(one.traces for one in functions) >= 2


def test_functions_of_the_moment_are_let_go(network):
    """A method that asks with a new function each time is compiled each time, but not kept for ever."""

    def masked(view):
        channels = np.zeros((len(view.images), 1), int)
        view.rescore(lambda images, channel: images, channels)
        return view.features[..., :1].numpy().transpose(0, 3, 1, 2)

    function = map_function_of(network, find_method(masked, {}), {})
    inputs, classes = [IMAGES], np.zeros((2, 1), "int32")
    for _ in range(CACHE_SIZE + 3):
        function(inputs, classes)
    assert len(function.compiled.pieces) == CACHE_SIZE


@pytest.mark.parametrize("method", ["score_cam", "ss_cam", "is_cam"])
def test_one_progress_bar_for_all_samples(network, method, monkeypatch):
    bars = []

    class Bar(keras.utils.Progbar):
        def __init__(self, target, **options):
            super().__init__(target, **options)
            bars.append(target)

    monkeypatch.setattr(keras.utils, "Progbar", Bar)
    options = {} if method == "score_cam" else {"samples": SAMPLES}
    explain(network, IMAGES, classes=0, method=method, batch_size=AT_ONCE, verbose=1, **options)
    assert bars == [len(IMAGES) * CHANNELS // AT_ONCE * options.get("samples", 1)]

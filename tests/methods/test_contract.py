"""What every method of the table keeps to: dtypes, shapes, grids, models left alone, one trace; and a user's own."""

import functools
import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from support import reference, reference_perturbation, reference_pixels, zoo
from support.method_kinds import METHOD_KINDS, METHOD_REPRESENTATIVES
from support.zoo_kinds import representatives_of
from support.zoo_parts import HEIGHT, WIDTH, after_pooling, backbone, chain, dense, gap, under
from test_methods import REFERENCES, WITHOUT_REFERENCE, far

from keras_cam import METHODS, Explainer, explain, targets
from keras_cam.errors import InvalidOptionError, UnsupportedModelError
from keras_cam.methods import Method

BUILDERS = {
    "functional": lambda: after_pooling(dense()),
    "nested": lambda: chain(backbone("level_1"), gap(), dense()),
}
PRECISIONS = {"float32": 1e-5, "mixed_float16": 0.02, "mixed_bfloat16": 0.125}
IMAGES = np.random.default_rng(2).uniform(size=(3, HEIGHT, WIDTH, 3)).astype("float32")
SMALL = {"samples": 3}


@functools.cache
def model_of(kind, precision):
    made = under(precision, BUILDERS[kind])()
    zoo.randomize(made)
    kernel = keras.ops.convert_to_numpy(made.get_layer("scores").kernel)
    made.get_layer("scores").kernel.assign(kernel - kernel.mean(axis=0))  # for and against every class
    return made


def few(method):
    """Options that make a method quick."""
    return {name: value for name, value in SMALL.items() if name in METHODS[method].options}


@functools.cache
def kept_to(method, kind, precision):
    """The maps of three images and classes, once everything else has been seen to."""
    model = model_of(kind, precision)
    before = zoo.state_of(model)
    explainer = Explainer(model, method=method, **few(method))
    three = explainer(IMAGES, [2, 0, 1])
    traces = traces_of(explainer)
    one = explainer(IMAGES[1:2], 0)
    assert traces_of(explainer) == traces
    for result, shape in ((three, (3, 3)), (one, (1, 1))):
        grid = (HEIGHT, WIDTH) if METHODS[method].at_pixels else (HEIGHT // 2, WIDTH // 2)
        assert result.maps.shape == (*shape, *grid) and result.maps.dtype == np.float32
        assert np.isfinite(result.maps).all()
        assert result.maps.any(axis=(2, 3)).all() or method == "guided_grad_cam"  # where Grad-CAM is all negative
        assert result.grid.shape == grid and result.method == method
        assert np.isnan(result.bias).all() == (method != "cam")
    np.testing.assert_array_equal(one.class_indices, [[0]])
    assert far(one.maps[0, 0], three.maps[1, 1]) <= PRECISIONS[precision]
    assert zoo.state_of(model) == before
    return three.maps


def traces_of(explainer):
    """How often each compiled function of an explainer was traced; on TensorFlow alone is it counted."""
    if keras.backend.backend() != "tensorflow":
        return {}
    compiled = explainer._ensemble.functions[0].compiled
    functions = {"forward": compiled.forward, "chosen": compiled.chosen_classes, **compiled.pieces}
    counts = {key: one.traces for key, one in functions.items()}
    assert set(counts.values()) <= {0, 1} and sum(counts.values()) > 0
    return counts


USUAL = {("functional", "float32"), ("functional", "mixed_float16")}  # what all methods see in the default run
OTHERS = {("functional", "mixed_bfloat16"), ("nested", "float32")}  # what those that stand for their kind see too


def each_of(products, in_default):
    """Parameters for a test: those of the default run, and the others marked for the sweep."""
    return [each if in_default(*each) else pytest.param(*each, marks=pytest.mark.sweep) for each in products]


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize(
    ("method", "kind", "precision"),
    each_of(
        itertools.product(METHODS, BUILDERS, PRECISIONS),
        lambda method, *model: model in USUAL or (method in METHOD_REPRESENTATIVES and model in OTHERS),
    ),
)
def test_every_method_keeps_the_contract(method, kind, precision):
    """In half precision the maps are those of float32, rounded."""
    maps, exact = kept_to(method, kind, precision), kept_to(method, kind, "float32")
    assert (
        max(far(*pair) for index in range(3) for pair in zip(maps[index], exact[index], strict=True))
        <= PRECISIONS[precision]
    )


# float16 has nothing below 6e-8, and few digits below 6e-5


@functools.cache
def of_bytes(precision, head):
    """A network that rescales 0..255, and a head for 48 x 64 cells."""

    def build():
        inputs = keras.Input((48, 64, 3))
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name="cells")(layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, HEADS_OF_BYTES[head][0](x))

    model = under(precision, build)()
    zoo.randomize(model)
    return model


HEADS_OF_BYTES = {
    "classifier": (lambda x: layers.Dense(3)(layers.Dense(5, activation="tanh")(gap()(x))), {"classes": 1}),
    "segmentation": (lambda x: layers.Conv2D(3, 1)(x), {"target": targets.segmentation(1)}),
}


@pytest.mark.parametrize("head", HEADS_OF_BYTES)
@pytest.mark.parametrize("method", ["auto", "hires_cam", "grad_cam", "shapley_cam", "saliency", "full_grad"])
def test_small_gradients_are_not_lost_in_float16(method, head):
    _, options = HEADS_OF_BYTES[head]
    images = np.random.default_rng(4).uniform(0, 255, (2, 48, 64, 3)).astype("float32")
    half, exact = (
        explain(of_bytes(precision, head), images, method=method, **options).maps
        for precision in ("mixed_float16", "float32")
    )
    assert (half == 0).mean() <= (exact == 0).mean() + 1e-3
    assert (
        np.sqrt(np.mean((half - exact) ** 2) / np.mean(exact**2)) < 0.02
    )  # a ReLU here and there is on the other side


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.compiled])
def test_maps_do_not_depend_on_how_many_are_run_at_once(method):
    """Nor does their noise, which is that of the seed."""
    model, options = zoo.model("Flatten and MLP"), few(method)
    maps = [explain(model, IMAGES, classes="all", method=method, batch_size=size, **options).maps for size in (32, 2)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5 * np.abs(maps[0]).max())
    if "seed" in METHODS[method].options:
        other = explain(model, IMAGES, classes="all", method=method, seed=1, **options).maps
        assert np.abs(other - maps[0]).max() > 1e-3 * np.abs(maps[0]).max()


SAMPLED = [name for name, method in METHODS.items() if "samples" in method.options]
NOISY = [name for name, method in METHODS.items() if "noise" in method.options]
MASKING = [name for name, method in METHODS.items() if "max_channels" in method.options]
BASED = [name for name, method in METHODS.items() if "baseline" in method.options]

# the table


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_documented_and_has_a_reference(method):
    entry = METHODS[method]
    words = inspect.getdoc(entry.function)
    assert entry.function.__name__ == method
    assert entry.cost[0].isdigit()
    for option in entry.options:
        assert f"\n    {option}: " in words
    for part in ("Args:", "Returns:"):
        assert part in words
    if method in WITHOUT_REFERENCE:
        return
    first_author, *_ = entry.paper.split()
    assert first_author in words or "pytorch-grad-cam" in words
    for number in entry.paper.split("arXiv ")[1:]:
        assert number in words
    assert any(callable(getattr(one, method, None)) for one in (reference, reference_perturbation, reference_pixels))


def test_every_method_is_compared_with_its_reference():
    """WITHOUT_REFERENCE: a baseline of random weights has nothing to be compared with."""
    assert REFERENCES.keys() | WITHOUT_REFERENCE == METHODS.keys()
    assert {"random_cam"} == WITHOUT_REFERENCE


# a user's own


def strongest_channel(view, *, rank=0):
    """The channel of the largest mean (or second, ...), the same for every class."""
    features = ops.convert_to_numpy(view.features)
    chosen = np.argsort(-features.mean(axis=(1, 2)), axis=1)[:, rank]
    maps = np.take_along_axis(features, chosen[:, None, None, None], axis=-1)[..., 0]
    return ops.convert_to_tensor(np.repeat(maps[:, None], view.class_indices.shape[1], axis=1))


def test_a_function_of_ones_own_and_its_options():
    model = model_of("functional", "float32")
    features = keras.Model(model.inputs, model.get_layer("conv_2").output).predict(IMAGES, verbose=0)
    order = np.argsort(-features.mean(axis=(1, 2)), axis=1)
    for rank in (0, 1):
        result = explain(model, IMAGES, classes=[0, 2], method=strongest_channel, rank=rank)
        expected = np.stack([one[..., order[index, rank]] for index, one in enumerate(features)])
        np.testing.assert_allclose(result.maps, np.stack([expected, expected], axis=1), rtol=1e-5, atol=1e-6)
    assert result.method == "strongest_channel" and np.isnan(result.bias).all()
    with pytest.raises(InvalidOptionError, match=r"'?ranks.*'?rank\b"):
        explain(model, IMAGES, method=strongest_channel, ranks=1)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_method_of_ones_own_may_be_compiled_and_at_the_pixels(compiled):
    """Image x gradient, added up over the channels."""

    def image_x_gradient(view, *, share=1.0):
        return share * ops.sum(view.image_gradients() * ops.expand_dims(view.images, 1), axis=-1)

    method = Method(image_x_gradient, at_pixels=True, compiled=compiled)
    model, images = model_of("nested", "float32"), IMAGES[:2]
    result = explain(model, images, classes="all", method=method, share=0.5)
    assert result.maps.shape == (2, 3, HEIGHT, WIDTH) and result.grid.shape == (HEIGHT, WIDTH)
    step = 1e-2  # small enough that no ReLU of these two turns: the score moves by the sum of the map
    moved = explain(model, images * (1 + step), classes="all").logits - explain(model, images, classes="all").logits
    np.testing.assert_allclose(
        2 * result.maps.sum(axis=(2, 3)), moved / step, rtol=0, atol=1e-3 * np.abs(moved).max() / step
    )


def test_parts_and_bias_of_ones_own_are_taken_as_they_are():
    """A method that takes the score apart says so by returning two."""
    result = explain(model_of("functional", "float32"), IMAGES, classes="all", method=lambda view: view.decomposition())
    np.testing.assert_allclose(result.maps.mean(axis=(2, 3)) + result.bias, result.logits, rtol=1e-5, atol=1e-5)


def test_errors_say_what_there_is():
    model = model_of("functional", "float32")
    with pytest.raises(InvalidOptionError, match=r"'auto', 'cam', 'grad_cam'.*or a function.*'gradcam'"):
        Explainer(model, method="gradcam")
    with pytest.raises(InvalidOptionError, match=r"samples.*max_channels"):
        Explainer(model, method="score_cam", samples=3)
    with pytest.raises(InvalidOptionError, match=r"noise"):
        Explainer(model, method="grad_cam", noise=3)


WRONG = [  # method, option, value, words of the error
    *(
        (method, "samples", value, "whole number, 1 or more")
        for method in SAMPLED
        for value in (0, 2.5, "3", None, True)
    ),
    *((method, "noise", value, "finite number, 0 or more") for method in NOISY for value in (-0.1, "loud", np.nan)),
    *((method, "seed", value, "whole number, 0 or more") for method in (*NOISY, "random_cam") for value in (-1, 0.5)),
    *((method, "max_channels", value, "whole number, 1 or more") for method in MASKING for value in (0, "3", 2.5)),
    *(("finer_cam", "references", value, "whole number, 1 or more") for value in (0, [2], 1.5)),
    *(("finer_cam", "against", value, "whole number, 0 or more") for value in ("cat", [0.5], -1)),
    *(("finer_cam", "against", value, "3 classes, 0 to 2") for value in (3, [0, 9], [])),
    *(("finer_cam", "strength", value, "finite number") for value in ("much", np.inf)),
    *(
        (method, "baseline", value, rf"broadcasts to one image.*\({HEIGHT}, {WIDTH}, 3\).*Received")
        for method in BASED
        for value in (np.ones(5), np.ones((2, HEIGHT, WIDTH, 3)), np.nan, "black", None, [[1.0], [1.0, 2.0]])
    ),
]


@pytest.mark.parametrize(("method", "name", "value", "words"), WRONG)
def test_options_that_are_none_are_named(method, name, value, words):
    with pytest.raises(InvalidOptionError, match=f"^{name} must.*{words}"):
        explain(model_of("functional", "float32"), IMAGES, method=method, **{name: value})


@pytest.mark.parametrize("method", BASED)
def test_a_baseline_may_be_a_tensor(method):
    model, options = model_of("functional", "float32"), few(method)
    colours = np.array([0.1, 0.5, 0.9], "float32")
    forms = (
        colours,
        colours.tolist(),
        ops.convert_to_tensor(colours),
        np.broadcast_to(colours, (1, *IMAGES.shape[1:])),
    )
    maps = [explain(model, IMAGES, method=method, baseline=form, **options).maps for form in forms]
    for one in maps[1:]:
        np.testing.assert_array_equal(one, maps[0])


def test_options_of_ones_own_method_are_keyword_only():
    def powered(view, power=1.0):
        return view.features[..., 0] ** power

    with pytest.raises(InvalidOptionError, match=r"keyword-only: write def powered\(view, \*, power\).*'power'"):
        explain(model_of("functional", "float32"), IMAGES, method=powered, power=2)


# other ranks and models

UNUSUAL = [
    *("Conv1D", "Conv3D", "ViT, prefix token in the mean", "two scales", "image and table, as a dict"),
    *("channels first, flat", "TimeDistributed frames", "any size, nested"),
]
WITHOUT_RELU = ("ViT", "TimeDistributed")
ONE_OF_EACH_KIND = set(itertools.product(METHOD_REPRESENTATIVES, representatives_of(UNUSUAL)))


def test_every_method_is_of_one_kind():
    assert sorted(method for methods in METHOD_KINDS.values() for method in methods) == sorted(METHODS)


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@pytest.mark.parametrize(
    ("method", "name"),
    each_of(
        itertools.product(METHODS, UNUSUAL),
        lambda method, name: name == "Conv1D" or (method, name) in ONE_OF_EACH_KIND,  # all methods on the cheapest
    ),
)
def test_every_method_takes_every_kind_of_model(method, name):
    model, inputs, options = zoo.model(name), zoo.inputs(name), zoo.ZOO[name].options
    if method.startswith("guided") and name.startswith(WITHOUT_RELU):
        with pytest.raises(UnsupportedModelError, match=r"no ReLU.*saliency"):
            explain(model, inputs, method=method, **options)
        return
    chosen = "auto" if method == "cam" else method  # CAM itself is for pooled heads
    result = explain(model, inputs, classes="all", method=chosen, **options, **few(method))
    image = keras.tree.flatten(inputs)[0]
    places = image.shape[2:] if name.startswith("channels first") else image.shape[1:-1]
    assert result.maps.shape[:2] == (3, 3) and result.maps.ndim == 2 + len(places)
    assert np.isfinite(result.maps).all() and result.maps.any()
    if METHODS[method].at_pixels:
        assert result.maps.shape[2:] == places


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
def test_guided_grad_cam_of_two_scales_is_guided_by_both():
    model, inputs = zoo.model("two scales"), zoo.inputs("two scales")
    guided, heat, product = (
        explain(model, inputs, classes="all", method=method).maps
        for method in ("guided_backprop", "grad_cam", "guided_grad_cam")
    )
    sizes = product.shape[2:]
    expected = [[reference.upsample(np.maximum(one, 0), sizes) for one in row] for row in heat] * guided
    np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert product.any()


@pytest.mark.parametrize("method", ["score_cam", "ss_cam", "is_cam", "saliency", "full_grad", "guided_grad_cam"])
def test_an_input_without_pixels_is_named(method):
    with pytest.raises(UnsupportedModelError, match=r"pixels.*\(None, 96\).*'grad_cam'"):
        explain(zoo.model("flat pixels"), zoo.inputs("flat pixels"), method=method)


@pytest.mark.parametrize("method", ["saliency", "smooth_grad", "integrated_gradients", "full_grad", "score_cam"])
def test_a_model_of_integers_has_the_maps_of_its_like_in_floats(method):
    """Noise and masks are rounded, and cut off at 0 and 255."""
    maps, pictures = [], (IMAGES * 255).astype("uint8")
    for dtype in ("uint8", "float32"):
        inputs = keras.Input(IMAGES.shape[1:], dtype=dtype)
        outputs = dense()(gap()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))))
        model = keras.Model(inputs, outputs)
        zoo.randomize(model)
        maps.append(explain(model, pictures.astype(dtype), classes=1, method=method, **few(method)).maps)
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] > 0.97
    if method in ("saliency", "full_grad"):
        assert far(maps[0], maps[1]) < 1e-5


def one_relu(rectifier):
    """A score that is the sum of what a ReLU makes of the pixels."""
    inputs = keras.Input((2, 3, 1))
    x = rectifier(layers.Conv2D(1, 1, kernel_initializer="ones")(inputs))
    return keras.Model(inputs, layers.Dense(1, kernel_initializer=keras.initializers.Constant(6))(gap()(x)))


RECTIFIERS = {  # which pixels it hands on
    "ReLU": (layers.ReLU, lambda x: x > 0),
    "bounded": (lambda: layers.ReLU(1.0), lambda x: (x > 0) & (x < 1)),
    "with a threshold": (lambda: layers.ReLU(threshold=0.5), lambda x: x > 0.5),
    "relu6": (lambda: layers.Activation("relu6"), lambda x: (x > 0) & (x < 6)),
    "operation": (lambda: ops.relu6, lambda x: (x > 0) & (x < 6)),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_guided_backprop_stops_where_a_relu_is_flat(name):
    make, passes = RECTIFIERS[name]
    image = np.array([[-2.0, 0.25, 0.75], [1.5, 5.0, 7.0]])
    maps = explain(one_relu(make()), image[None, ..., None], classes=0, method="guided_backprop").maps
    np.testing.assert_allclose(maps[0, 0], passes(image), rtol=1e-6)


def test_a_leaky_relu_is_none():
    with pytest.raises(UnsupportedModelError, match="no ReLU"):
        explain(one_relu(layers.ReLU(negative_slope=0.1)), np.ones((1, 2, 3, 1)), classes=0, method="guided_backprop")

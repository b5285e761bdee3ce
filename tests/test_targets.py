"""Targets: what a map explains, in worked numbers, on classifiers, regressions, segmentation, detectors, embeddings."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cam import CAMWarning, Explainer, explain, targets
from keras_cam.errors import InvalidOptionError, UnsupportedModelError
from keras_cam.targets import Target

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 12, 16, 3)).astype("float32")


def body(inputs):
    x = layers.Conv2D(5, 3, activation="relu", name="first")(inputs)
    return layers.Conv2D(4, 3, strides=2, activation="relu", name="features")(x)


def classifier(units=3, activation="softmax", **options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 16, 3))
    x = layers.GlobalAveragePooling2D()(body(inputs))
    return keras.Model(inputs, layers.Dense(units, activation=activation, bias_initializer="normal", **options)(x))


def test_a_margin_is_the_difference_of_two_maps_and_is_exact():
    model = classifier()
    both = explain(model, IMAGES, classes=[0, 2])
    margin = explain(model, IMAGES, classes=0, target=targets.margin(2))
    np.testing.assert_allclose(margin.maps[:, 0], both.maps[:, 0] - both.maps[:, 1], atol=1e-5)
    np.testing.assert_allclose(margin.logits[:, 0], both.logits[:, 0] - both.logits[:, 2], atol=1e-5)
    assert margin.method == "cam" and margin.completeness.min() > 1 - 1e-5
    np.testing.assert_allclose(margin.probabilities, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_the_margin_over_the_best_other_class():
    model = classifier()
    plain = explain(model, IMAGES, classes="top2")
    margin = explain(model, IMAGES, target=targets.margin())
    assert (margin.class_indices[:, 0] == plain.class_indices[:, 0]).all()
    np.testing.assert_allclose(margin.maps[:, 0], plain.maps[:, 0] - plain.maps[:, 1], atol=1e-5)
    lead = np.sort(plain.logits)[:, -1] - np.sort(plain.logits)[:, -2]
    np.testing.assert_allclose(margin.logits.max(axis=1), lead, atol=1e-5)


def test_gradients_of_the_probability():
    """d p_c / d A = p_c (d z_c - sum_d p_d d z_d)."""
    model = classifier()
    every = explain(model, IMAGES, classes="all", method="grad_cam").maps
    p = model.predict(IMAGES, verbose=0)
    wanted = p[:, 1, None, None] * (every[:, 1] - np.einsum("nc,nchw->nhw", p, every))
    found = explain(model, IMAGES, classes=1, method="grad_cam", target="probability")
    np.testing.assert_allclose(found.maps[:, 0], wanted, atol=1e-6)
    np.testing.assert_allclose(found.logits, p, atol=1e-6)
    assert found.title(0).endswith("%")


def test_the_probability_of_a_model_that_gives_logits_is_that_of_its_loss():
    model = classifier(activation=None)
    with pytest.raises(InvalidOptionError, match="gives probabilities"):
        explain(model, IMAGES, target="probability")
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    softmax = np.exp(model.predict(IMAGES, verbose=0))
    found = explain(model, IMAGES, target="probability", method="hires_cam")
    np.testing.assert_allclose(found.logits, softmax / softmax.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(found.probabilities, found.logits, atol=1e-6)


# one sigmoid unit: two classes, with logits -z and z and probabilities 1 - p and p


def one_unit_and_two():
    """The same probabilities from one sigmoid unit and from two softmax units."""
    unit, pair = classifier(units=1, activation="sigmoid"), classifier(units=2)
    *body, kernel, bias = unit.get_weights()
    pair.set_weights([*body, np.concatenate([-kernel, kernel], axis=1) / 2, np.concatenate([-bias, bias]) / 2])
    return unit, pair


@pytest.mark.parametrize("method", ["auto", "hires_cam", "ablation_cam", "saliency", "score_cam"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_the_probability_of_one_unit_is_that_of_two(method, from_logits):
    unit, pair = one_unit_and_two()
    if from_logits:
        linear = classifier(units=1, activation=None)
        linear.set_weights(unit.get_weights())
        linear.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
        unit = linear
    one, two = (explain(model, IMAGES, classes="all", method=method, target="probability") for model in (unit, pair))
    np.testing.assert_allclose(one.logits, pair.predict(IMAGES, verbose=0), atol=1e-6)
    np.testing.assert_allclose(one.probabilities, one.logits, atol=1e-6)
    if method != "auto":  # whose gates are frozen: sigmoid and softmax are taken apart in different ways
        np.testing.assert_allclose(one.maps, two.maps, atol=5e-5 * np.abs(two.maps).max())
    else:
        assert one.completeness.min() > 1 - 1e-5
    top = explain(unit, IMAGES, method=method, target="probability").class_indices[:, 0]
    np.testing.assert_array_equal(top, two.probabilities.argmax(axis=1))


def test_the_margin_of_one_unit_is_twice_its_logit_both_ways():
    unit, _ = one_unit_and_two()
    plain = explain(unit, IMAGES, classes="all")
    for target in (targets.margin(), targets.margin(0), targets.margin(1)):
        for class_index in {0, 1} - {0: {0}, 1: {1}}.get(target.function.parameters[0], set()):
            found = explain(unit, IMAGES, classes=class_index, target=target)
            np.testing.assert_allclose(found.logits[:, class_index], 2 * plain.logits[:, class_index], atol=1e-6)
            np.testing.assert_allclose(found.maps[:, 0], 2 * plain.maps[:, class_index], atol=1e-5)
            assert found.completeness.min() > 1 - 1e-5
            np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-6)
    best = explain(unit, IMAGES, target=targets.margin())
    np.testing.assert_array_equal(best.class_indices, explain(unit, IMAGES).class_indices)


def test_the_value_of_one_sigmoid_unit_up_and_down():
    unit, _ = one_unit_and_two()
    values = unit.predict(IMAGES, verbose=0)
    for target, sign in (("increase", 1), ("decrease", -1)):
        found = explain(unit, IMAGES, target=target)
        np.testing.assert_allclose(found.logits, sign * values, atol=1e-6)
        assert found.completeness.min() > 1 - 1e-5 and found.title(0).startswith(target)


def test_a_target_of_probabilities():
    """What a function makes of them; and of the two of one unit."""
    odds = Target("odds", lambda p: p / (1 - p), "probabilities", per_class=True)
    for model in (classifier(), *one_unit_and_two()):
        found = explain(model, IMAGES, classes="all", method="grad_cam", target=odds)
        np.testing.assert_allclose(found.logits, found.probabilities / (1 - found.probabilities), rtol=1e-5)


@pytest.mark.parametrize("method", ["auto", "grad_cam"])
def test_a_margin_of_a_class_over_itself_is_named(method):
    """A class that is predicted, say: its map is zero, and no dead ReLU is to blame."""
    model = classifier()
    predicted = int(explain(model, IMAGES[:1]).class_indices[0, 0])
    with pytest.warns(CAMWarning, match=f"the margin of 'class {predicted}' over itself.*classes="):
        found = explain(model, IMAGES[:1], method=method, target=targets.margin(predicted), classes=predicted)
    assert not found.maps.any()


MASK = np.eye(12, 16)
SAME = [
    *(targets.margin, lambda: targets.margin(2), targets.rest, lambda: targets.segmentation(1)),
    *(lambda: targets.segmentation(1, "predicted"), lambda: targets.segmentation(1, MASK)),
    *(lambda: targets.box_score(3, 1, "cls_logits"), lambda: targets.similarity(np.arange(1.0, 4))),
]


def test_targets_that_are_made_twice_are_one():
    made = [make() for make in SAME]
    assert [make() for make in SAME] == made and len(set(made)) == len({*made, *(make() for make in SAME)}) == 8
    assert targets.segmentation(1, MASK) != targets.segmentation(1, MASK[::-1])
    assert targets.box_score(3, 1) != targets.box_score(3, 1, "cls_logits")


def test_a_target_in_the_call_is_compiled_once():
    model = classifier()
    first, second, other = (
        Explainer(model, method="grad_cam", target=targets.margin(index))._ensemble.functions[0] for index in (2, 2, 1)
    )
    assert first is second and first is not other


def test_a_mask_is_read_when_the_target_is_made():
    model, mask = segmenter(), np.zeros((12, 16))
    mask[2:6, 3:9] = 1
    target = targets.segmentation(1, mask)
    before = explain(model, IMAGES, target=target).maps
    mask[:] = 1
    np.testing.assert_array_equal(explain(model, IMAGES, target=target).maps, before)
    assert np.abs(explain(model, IMAGES, target=targets.segmentation(1, mask)).maps - before).max() > 0


# regressions and functions


def test_a_regression_up_and_down():
    model = classifier(units=1, activation=None)
    up, down = (explain(model, IMAGES, target=target) for target in ("increase", "decrease"))
    np.testing.assert_array_equal(up.maps, explain(model, IMAGES).maps)
    np.testing.assert_allclose(up.maps, -down.maps, atol=1e-6)
    np.testing.assert_allclose(down.logits, -model.predict(IMAGES, verbose=0), atol=1e-5)
    assert up.completeness.min() > 1 - 1e-5 and down.completeness.min() > 1 - 1e-5


def test_any_function_of_the_outputs():
    model = classifier(activation=None)
    found = explain(model, IMAGES, target=lambda outputs: 2 * outputs[:, 1] - outputs[:, 0])
    both = explain(model, IMAGES, classes=[0, 1])
    np.testing.assert_allclose(found.maps[:, 0], 2 * both.maps[:, 1] - both.maps[:, 0], atol=1e-5)
    assert found.class_indices.tolist() == [[0]] * 3 and found.title(0).startswith("target")
    assert found.completeness.min() > 1 - 1e-5


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a function of raw TensorFlow")
def test_a_function_of_raw_tensorflow():
    tf = pytest.importorskip("tensorflow")
    model = classifier(activation=None)

    def raw(outputs):
        return tf.raw_ops.Mul(x=outputs[:, 1], y=tf.ones_like(outputs[:, 1]) * 3.0)

    found = explain(model, IMAGES, method="grad_cam", target=raw)
    np.testing.assert_allclose(found.maps, 3 * explain(model, IMAGES, classes=1, method="grad_cam").maps, atol=1e-5)


def segmenter():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((12, 16, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="encoder")(inputs)
    x = layers.UpSampling2D(2)(layers.Conv2D(5, 3, padding="same", activation="relu", name="decoder")(x))
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax", name="scores")(x))


def test_segmentation_over_the_picture():
    """The last map before the 1x1 classifier, weighted by the class's kernel: mean(map) + bias is the mean logit."""
    model = segmenter()
    found = explain(model, IMAGES, target=targets.segmentation(2))
    assert found.completeness.min() > 1 - 1e-5 and found.maps.shape[2:] == (12, 16)
    features = keras.Model(model.input, model.get_layer("scores").input).predict(IMAGES, verbose=0)
    kernel = ops.convert_to_numpy(model.get_layer("scores").kernel)[0, 0]
    np.testing.assert_allclose(found.maps[:, 0], features @ kernel[:, 2], atol=1e-5)


def test_segmentation_inside_a_mask_sees_nothing_outside():
    model = segmenter()
    mask = np.zeros((12, 16))
    mask[2:6, 3:9] = 1
    found = explain(model, IMAGES, target=targets.segmentation(1, mask))
    assert found.completeness.min() > 1 - 1e-5
    assert (found.maps[:, 0][:, mask == 0] == 0).all() and np.abs(found.maps[:, 0][:, mask == 1]).min() > 0


def test_segmentation_of_what_is_predicted_at_an_earlier_layer():
    model = segmenter()
    predicted = model.predict(IMAGES, verbose=0).argmax(axis=-1)
    class_index = int(np.bincount(predicted.ravel()).argmax())
    by_name = explain(model, IMAGES[:1], layer="encoder", target=targets.segmentation(class_index, "predicted"))
    by_mask = explain(
        model, IMAGES[:1], layer="encoder", target=targets.segmentation(class_index, predicted[0] == class_index)
    )
    assert by_name.maps.shape[2:] == (6, 8)
    np.testing.assert_allclose(by_name.maps, by_mask.maps, atol=1e-5)


def detector():
    """RetinaNet in small: two levels, one box per cell, shared heads, a dict of raw predictions."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    fine = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="p3")(inputs)
    coarse = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="p4")(fine)
    tower = layers.Conv2D(6, 3, padding="same", activation="relu", name="tower")
    heads = {"bbox_regression": layers.Conv2D(4, 3, padding="same"), "cls_logits": layers.Conv2D(2, 3, padding="same")}
    outputs = {
        name: layers.Concatenate(axis=1)([layers.Reshape((-1, head.filters))(head(tower(x))) for x in (fine, coarse)])
        for name, head in heads.items()
    }
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("method", ["auto", "grad_cam", "hires_cam", "layer_cam"])
def test_the_score_of_one_box_looks_at_the_box(method):
    model, images = detector(), RNG.uniform(size=(2, 16, 16, 3)).astype("float32")
    box, class_index = 3 * 8 + 5, 1  # row 3, column 5 of the fine level
    found = explain(model, images, method=method, target=targets.box_score(box, class_index, "cls_logits"))
    scores = model.predict(images, verbose=0)["cls_logits"][:, box, class_index]
    np.testing.assert_allclose(found.logits[:, 0], scores, atol=1e-5)
    if method == "grad_cam":  # whose weights have no place
        return
    rows, columns = np.nonzero(np.abs(found.maps[:, 0]).sum(axis=0))
    assert found.maps.shape[2:] == (8, 8)
    assert rows.size and rows.min() >= 2 and rows.max() <= 4 and columns.min() >= 4 and columns.max() <= 6
    if method == "auto":
        assert found.completeness.min() > 1 - 1e-5


def test_similarity_to_a_picture():
    model = classifier(units=8, activation=None)
    embeddings = model.predict(IMAGES, verbose=0)
    found = explain(model, IMAGES, method="hires_cam", target=targets.similarity(embeddings[1]))
    lengths = np.linalg.norm(embeddings, axis=1)
    np.testing.assert_allclose(found.logits[:, 0], embeddings @ embeddings[1] / lengths / lengths[1], atol=1e-5)
    assert found.title(1) == "similarity: 1"
    assert np.abs(found.maps[1]).max() < 1e-4 * np.abs(found.maps[[0, 2]]).max()  # nothing makes it more alike itself


def test_shapley_cam_with_its_own_target_differs_from_grad_cam():
    model = classifier()
    logit = [explain(model, IMAGES, classes=0, method=method).maps for method in ("grad_cam", "shapley_cam")]
    own = [
        explain(model, IMAGES, classes=0, method=method, target=targets.rest()).maps
        for method in ("grad_cam", "shapley_cam")
    ]
    np.testing.assert_allclose(*logit, atol=1e-6)
    assert np.abs(own[0] - own[1]).max() > 1e-3 * np.abs(own[0]).max()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("likelihood", "must be one of 'logit', 'probability'"),
        (3, "must be one of"),
        (np.ones(3), "must be one of"),
        (targets.margin(7), "has 3 classes"),
        (lambda outputs: ops.sum(outputs), "one number per image"),
        (lambda outputs: ops.convert_to_numpy(outputs)[0, :2], "one number per image"),
        (targets.similarity(np.ones(5)), "gives 3 numbers"),
        (targets.box_score(0, 0, "cls_logits"), r"gives \(None, 3\). Received: output='cls_logits'"),
        (targets.box_score(0, 0), r"an output \(None, 3\)"),
    ],
)
def test_targets_that_are_none(target, words):
    with pytest.raises(InvalidOptionError, match=words):
        explain(classifier(), IMAGES, target=target)


BOXES = "'bbox_regression' \\(None, 80, 4\\), 'cls_logits' \\(None, 80, 2\\)"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (targets.box_score(3, 1), f"gives {BOXES}. Received: output=None. Choose one with targets.box_score"),
        (targets.box_score(3, 1, "classes"), f"gives {BOXES}. Received: output='classes'"),
        (targets.box_score(9999, 1, "cls_logits"), r"box 9999 and class 1 of an output \(None, 80, 2\)"),
        (targets.box_score(3, 2, "cls_logits"), "box 3 and class 2"),
        (targets.similarity(np.ones(4)), f"gives {BOXES}.*output="),
        ("increase", "has 2 outputs.*'cls_logits'.*output="),
        (lambda outputs: outputs["classes"], r"Target 'target' failed on outputs \(1, 80, 4\).*KeyError: 'classes'"),
    ],
)
def test_targets_that_a_detector_has_not(target, words):
    with pytest.raises((InvalidOptionError, UnsupportedModelError), match=words):
        explain(detector(), np.zeros((1, 16, 16, 3)), target=target)


def test_an_error_inside_a_target_is_told_with_its_own_words():
    def broken(outputs):
        raise OSError("no such table")

    with pytest.raises(InvalidOptionError, match=r"Target 'broken' failed.*OSError: no such table") as caught:
        explain(classifier(), IMAGES, target=broken)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.usefixtures("tf")
def test_an_error_of_a_target_while_it_is_compiled_is_told_too():
    """What runs on tensors with values alone."""
    with pytest.raises(InvalidOptionError, match=r"^Target 'target' failed on outputs \(None, 3\).*'numpy'$"):
        explain(classifier(), IMAGES, target=lambda outputs: ops.convert_to_tensor(outputs[:, 0].numpy()))


def test_a_margin_needs_two_classes():
    with pytest.raises(InvalidOptionError, match=r"has 1 class\. Received: targets.margin\(\)"):
        explain(classifier(units=1, activation=None), IMAGES, target=targets.margin())


def test_targets_that_cannot_be():
    for make in (
        lambda: targets.similarity(np.zeros(4)),
        lambda: targets.similarity([[1.0, np.nan]]),
        lambda: targets.segmentation(0, "everywhere"),
        lambda: targets.segmentation(0, np.zeros((4, 4))),
        lambda: targets.margin("cat"),
        lambda: targets.margin(-1),
        lambda: targets.margin(True),
        lambda: targets.segmentation("road"),
        lambda: targets.box_score(1.5, 0),
        lambda: targets.box_score(0, None),
    ):
        with pytest.raises(InvalidOptionError):
            make()
    with pytest.raises(InvalidOptionError, match="scores 3 classes"):
        explain(segmenter(), IMAGES, target=targets.segmentation(3))
    with pytest.raises(InvalidOptionError, match="a mask"):
        explain(segmenter(), IMAGES, target=targets.segmentation(1, np.ones((5, 5))))
    with pytest.raises(InvalidOptionError, match="One mask serves all images"):
        explain(segmenter(), IMAGES, target=targets.segmentation(1, np.ones((3, 12, 16))))

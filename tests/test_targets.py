"""Targets: what a map explains, in worked numbers, on classifiers, regressions, segmentation, detectors, embeddings."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cam import explain, targets
from keras_cam.errors import InvalidOptionError

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
        (targets.margin(7), "has 3 classes"),
        (lambda outputs: ops.sum(outputs), "one number per image"),
        (targets.similarity(np.ones(5)), "gives 3 numbers"),
    ],
)
def test_targets_that_are_none(target, words):
    with pytest.raises(InvalidOptionError, match=words):
        explain(classifier(), IMAGES, target=target)


def test_targets_that_cannot_be():
    for make in (
        lambda: targets.similarity(np.zeros(4)),
        lambda: targets.similarity([[1.0, np.nan]]),
        lambda: targets.segmentation(0, "everywhere"),
        lambda: targets.segmentation(0, np.zeros((4, 4))),
    ):
        with pytest.raises(InvalidOptionError):
            make()
    with pytest.raises(InvalidOptionError, match="scores 3 classes"):
        explain(segmenter(), IMAGES, target=targets.segmentation(3))
    with pytest.raises(InvalidOptionError, match="a mask"):
        explain(segmenter(), IMAGES, target=targets.segmentation(1, np.ones((5, 5))))

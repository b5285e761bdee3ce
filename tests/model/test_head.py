"""What the head is: one unit as two classes, labels each by itself, values."""

import numpy as np
import pytest
from keras import layers
from support import zoo
from support.object_finder import PHOTO, object_finder, with_object
from support.zoo import IMAGES, exact

from keras_cam import compute_cam, explain


def test_class_0_of_one_unit_is_the_negative_and_only_the_positive_part_is_drawn():
    model = object_finder(layers.Dense(1, activation="sigmoid", name="scores"))
    model.get_layer("scores").set_weights([np.array([[1.0], [2.0]]), np.array([-0.1])])
    result = explain(model, PHOTO / 255, classes="all")
    against, speaks_for = result.maps[0]
    np.testing.assert_array_equal(against, -speaks_for)
    assert with_object(speaks_for) > 0.8 and with_object(against) < -0.8
    assert speaks_for.min() >= 0 and speaks_for.max() == pytest.approx(1.5, rel=1e-3)  # (1 + 2) of what is above 0.5
    drawn, signed = result.heatmaps()[0], result.heatmaps(signed=True)[0]
    assert not drawn[0].any()  # not turned into heat on everything but the object
    assert drawn[1].max() == 1 and signed[0].min() == -1
    np.testing.assert_array_equal(drawn[1], signed[1])
    np.testing.assert_array_equal(result.overlays()[0][0], result.images[0])
    assert "nothing_positive" in [finding.name for finding in result.diagnosis]


def test_one_sigmoid_unit_is_two_classes():
    model = zoo.model("one sigmoid unit")
    result = explain(model, IMAGES, classes="all", class_names=["benign", "malignant"])
    np.testing.assert_allclose(result.probabilities[:, 1:], model.predict(IMAGES, verbose=0), rtol=1e-5)
    np.testing.assert_array_equal(result.maps[:, 0], -result.maps[:, 1])
    np.testing.assert_array_equal(result.logits[:, 0], -result.logits[:, 1])
    assert exact(result)
    np.testing.assert_allclose(
        compute_cam(model, IMAGES, "benign", class_names=["benign", "malignant"], normalize=None),
        compute_cam(model, IMAGES, 0, normalize=None),
    )


def test_each_label_is_explained_by_itself():
    """Each label is explained by itself: the others' scores do not come into it."""
    model = zoo.fresh("multi-label")
    before = explain(model, IMAGES, classes=0)
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[:, 1:] = 9
    model.get_layer("scores").set_weights([kernel, bias])
    np.testing.assert_array_equal(explain(model, IMAGES, classes=0).maps, before.maps)


def test_a_regression_is_explained_by_its_value():
    """The value itself: the signed map adds up to it, and 'more' and 'less' are its two signs."""
    model = zoo.model("regression")
    result = explain(model, IMAGES, classes="all")
    values = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(result.maps.mean(axis=(2, 3)) + result.bias, values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.probabilities, values, rtol=1e-5)
    assert (result.maps < 0).any() and (result.maps > 0).any() and result.activation == "linear"
    assert result.title(0, 1).startswith("class 1: ")  # a value, not a percentage

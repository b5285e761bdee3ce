"""Models of several inputs and outputs, cut at the ones that were asked for."""

import numpy as np
from support import zoo
from support.zoo import IMAGES, exact

from keras_cam import explain


def test_a_siamese_network_is_explained_at_the_call_that_was_asked_for():
    """A shared layer's `output` is that of its first call only; each image gets the map of its own call."""
    model = zoo.model("siamese side by side")
    left, right = IMAGES, IMAGES[::-1].copy()
    one = explain(model, [left, right], classes="all")
    other = explain(model, [left, right], classes="all", image_input="right")
    assert exact(one) and exact(other)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5)
    moved = explain(model, [left, np.roll(right, 1, axis=2)], classes="all")
    np.testing.assert_allclose(moved.maps, one.maps, rtol=1e-4, atol=1e-6)  # the left map is of the left image alone
    turned = explain(model, [left, np.roll(right, 1, axis=2)], classes="all", image_input="right")
    assert np.abs(turned.maps - other.maps).max() > 1e-3


def test_a_table_beside_the_image_is_part_of_the_bias():
    """One map, of the image, whichever way the inputs are handed in; the table is part of the bias."""
    model = zoo.model("image and table")
    table = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    result = explain(model, [IMAGES, table], classes="all")
    by_name = explain(model, {"image": IMAGES, "table": table}, classes="all")
    other_table = explain(model, [IMAGES, table + 1], classes="all")
    assert exact(result) and result.maps.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(by_name.maps, result.maps)
    np.testing.assert_allclose(other_table.maps, result.maps, rtol=1e-5, atol=1e-6)
    moved = (other_table.logits - result.logits) - (other_table.bias - result.bias)
    np.testing.assert_allclose(moved, 0, atol=1e-5)


def test_the_output_that_was_asked_for_is_explained():
    """The output that was asked for; the other's head, and what only it needs, is not even run."""
    model = zoo.model("output beyond it")
    main, auxiliary = (explain(model, IMAGES, classes="all", output=name) for name in ("main", "auxiliary"))
    assert exact(main) and exact(auxiliary)
    assert main.maps.shape != auxiliary.maps.shape  # the auxiliary head pools one layer earlier
    predictions = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(main.probabilities, predictions["main"], rtol=1e-5)
    np.testing.assert_allclose(auxiliary.probabilities, predictions["auxiliary"], rtol=1e-5)

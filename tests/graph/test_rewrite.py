"""The last activation split from the scores: they are explained, not what it makes of them."""

import numpy as np
import pytest
from support import zoo
from support.zoo import IMAGES, exact

from keras_cam import explain


@pytest.mark.parametrize("name", ["functional", "softmax layer", "softmax as Activation", "softmax operation"])
def test_a_saturated_softmax_keeps_its_map(name):
    """Probabilities that are 1.0 to the last bit leave no gradient; the map is of the score before them."""
    model = zoo.fresh(name)
    scores = model.get_layer("scores")
    scores.set_weights([1e4 * weight for weight in scores.get_weights()])
    activation = scores.activation
    result = explain(model, IMAGES)
    assert result.probabilities.max(axis=1).tolist() == [1, 1, 1] and result.activation == "softmax"
    assert np.abs(result.maps).max() > 1e3 and exact(result)
    usual = explain(zoo.fresh(name), IMAGES, classes=result.class_indices)
    np.testing.assert_allclose(result.maps, 1e4 * usual.maps, rtol=1e-3, atol=1)
    assert scores.activation is activation  # read, not replaced

"""Heads replayed with what is not linear in them frozen, where there is nothing to freeze."""

import keras
import numpy as np
import pytest
from support import zoo
from support.zoo_kinds import by_kind

from keras_cam import UnsupportedModelError, explain
from keras_cam.model.head import AFFINE_PER_SAMPLE, POSITION_DEPENDENT


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")
@by_kind([name for name, entry in zoo.ZOO.items() if entry.kind in (AFFINE_PER_SAMPLE, POSITION_DEPENDENT)])
def test_dead_features_make_no_nan(name):
    """Features that are zero: lengths, means and maxima of nothing, and what is divided by them."""
    model = zoo.fresh(name)
    for layer in model._flatten_layers():
        if type(layer).__name__ in ("Conv1D", "Conv2D", "Conv3D", "BatchNormalization"):
            layer.set_weights([np.zeros(weight.shape) for weight in layer.get_weights()])
    options = zoo.ZOO[name].options
    if not np.isfinite(keras.tree.flatten(zoo.called(model, zoo.inputs(name)))[0]).all():
        with pytest.raises(UnsupportedModelError, match="not finite"):  # the model's own NaN is said to be its own
            explain(model, zoo.inputs(name), **options)
        return
    result = explain(model, zoo.inputs(name), classes="all", **options)
    assert np.isfinite(result.maps).all() and np.isfinite(result.bias).all()

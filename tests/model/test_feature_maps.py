"""Which layer's maps are taken where none is named: the last that are spatial, after their activation."""

import keras
import numpy as np
import pytest
from keras import layers
from support.object_finder import OBJECT, PHOTO, object_finder, with_object
from support.zoo import IMAGES, exact
from support.zoo_parts import after_maps, dense, gap

from keras_cam import compute_cam, explain


@pytest.mark.parametrize(
    ("head", "layer"),
    [
        ((gap(keepdims=True), layers.Conv2D(7, 1), layers.Conv2D(3, 1), layers.Flatten()), "conv_2"),  # not 1x1 ones
        ((layers.BatchNormalization(name="norm"), layers.ReLU(name="act"), gap(), dense()), "act"),  # not before it
        ((layers.SeparableConv2D(6, 3, name="separable"), gap(), dense()), "separable"),  # is no Conv2D
        ((layers.AveragePooling2D(2, name="pool"), gap(), dense()), "pool"),  # what the averaging reads
    ],
)
def test_the_last_maps_before_the_averaging_are_chosen(head, layer):
    result = explain(after_maps(*head), IMAGES, classes="all")
    assert (result.layer, result.maps.shape[2] > 1) == (layer, True)
    assert exact(result)


def test_the_map_is_on_the_object_where_that_of_the_last_conv2d_is_on_all_else():
    model = object_finder(layers.Dense(2, activation="softmax", name="scores"))
    weights = np.array([[1.0, -1.0], [2.0, -2.0]])
    model.get_layer("scores").set_weights([weights, np.zeros(2)])
    convolved = keras.Model(model.inputs, model.get_layer("conv").output).predict(PHOTO[None] / 255, verbose=0)
    assert with_object(convolved[0] @ weights[:, 0]) < -0.9  # the map that choosing the last Conv2D gives
    result = explain(model, PHOTO / 255)
    assert result.class_indices.tolist() == [[0]] and result.layer == "relu"
    assert with_object(result.maps[0, 0]) > 0.8
    heat = compute_cam(model, PHOTO / 255)
    assert heat[OBJECT].sum() > 0.9 * heat.sum()

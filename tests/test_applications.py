"""keras.applications: small members, exactly. `tox -e sweep` has one of each family, `tox -e applications` all."""

from fnmatch import fnmatch

import keras
import numpy as np
import pytest
from support.applications import MEMBERS, build, draw_pictures, public_constructors
from support.wrong_map import GRAD_CAM, WEIGHTED, agreement, usual_maps

import keras_cam
from keras_cam.explainer.explainer import Explainer

SMALL = [name for name, member in MEMBERS.items() if member.small]
REPRESENTATIVES = {  # what makes the feature map, kind of head -> who stands for it; other families are in the sweep
    ("ReLU", "affine"): "MobileNetV2",
    ("Activation", "affine"): "ResNet50",
    ("Activation", "affine_per_sample"): "MobileNetV3Small",
    ("Concatenate", "affine"): "InceptionV3",
    ("MaxPooling2D", "position_dependent"): "VGG16",
    ("Add", "affine_per_sample"): "ConvNeXtTiny",
}


def test_table_is_all_that_keras_offers():
    assert set(MEMBERS) == public_constructors()


def test_one_member_of_each_family_is_in_the_default_run_or_in_the_sweep():
    def family(name):
        return getattr(keras.applications, name).__module__.replace("vgg19", "vgg16")

    assert {family(name) for name in SMALL} == {family(name) for name in MEMBERS}


def test_default_run_has_one_of_each_kind():
    kinds = {name: (member.operation, member.kind) for name, member in MEMBERS.items()}
    assert {kinds[name]: name for name in REPRESENTATIVES.values()} == REPRESENTATIVES
    assert set(REPRESENTATIVES) == set(kinds.values()) and set(REPRESENTATIVES.values()) <= set(SMALL)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.sweep] * (name not in REPRESENTATIVES.values())) for name in SMALL],
)
def test_map_adds_up_and_the_model_stays_what_it_is(name):
    if name.startswith("NASNet") and keras.backend.backend() == "torch":
        pytest.skip("Keras does not build NASNet on torch")
    member = MEMBERS[name]
    pictures = draw_pictures(4, member.small)
    model = build(name, pictures, input_shape=(*member.small, 3))
    weights = model.get_weights()
    pictures = pictures[:2]

    explainer = Explainer(model)
    result = explainer(pictures, classes="all")

    (feature,) = explainer.head.cut.features
    made_by = explainer.head.cut.program.producer(feature.slot).operation
    assert (type(made_by).__name__, feature.layout.is_plain) == (member.operation, True)
    assert fnmatch(result.layer, member.layer)
    assert explainer.head.kind == member.kind
    assert np.abs(1 - result.completeness).max() <= 1e-5
    # A map of zeros, or one map for every image, would add up as well.
    assert np.ptp(result.maps, axis=(2, 3)).min() > 0.01 * np.abs(result.maps).max()
    assert np.abs(result.maps[0] - result.maps[1]).max() > 0.1 * np.abs(result.maps).max()

    outputs = keras_cam.build_feature_model(model)(pictures)
    rows, columns = result.maps.shape[2:]
    assert rows < columns, "the pictures are wider than high"
    assert tuple(outputs["features"].shape) == (2, rows, columns, member.channels)
    predictions = keras.ops.convert_to_numpy(model(pictures, training=False))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs["predictions"]), predictions)
    np.testing.assert_allclose(result.probabilities, predictions, rtol=1e-3)  # compiled
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("ResNet50V2", WEIGHTED),
        ("Xception", GRAD_CAM),
        pytest.param("DenseNet121", GRAD_CAM, marks=pytest.mark.sweep),
    ],
)
@pytest.mark.usefixtures("tf")
def test_last_conv2d_gives_another_map(name, way):
    size = (128, 160)
    pictures = draw_pictures(4, size)
    model = build(name, pictures, input_shape=(*size, 3), classifier_activation=None)
    usual, result = usual_maps(model, pictures), keras_cam.explain(model, pictures)
    assert usual.way == way
    assert usual.missed.min() > 0.1
    assert np.abs(1 - result.completeness).max() <= 1e-5
    assert usual.maps.shape == result.maps[:, 0].shape, "so that they may be compared cell by cell"
    assert agreement(usual.maps, result.maps[:, 0])[0] < 0.7

"""Maps follow the model: its weights at each call, and its layers, activations and LoRA, which a trace bakes in."""

import keras
import numpy as np
import pytest
from keras import layers
from support import small_models
from support.small_models import arrays

from keras_cam import Explainer, build_cam_model, compute_cam, explain

PICTURES = small_models.images()


def train(model):
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.train_on_batch(PICTURES, np.arange(3))


@pytest.mark.parametrize("name", ["functional", "nested", "batch norm in the head", "one unit"])
def test_the_same_explainer_follows_training(name):
    model = small_models.model(name, fresh=True)
    explainer = Explainer(model)
    before, heat_before = explainer(PICTURES, "all"), compute_cam(model, PICTURES, 0, normalize=None)
    if name == "one unit":
        model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
        model.train_on_batch(PICTURES, np.ones((3, 1)))
    else:
        train(model)
    after = explainer(PICTURES, "all")
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    np.testing.assert_allclose(after.maps, explain(fresh, PICTURES, classes="all").maps, rtol=1e-5, atol=1e-6)
    assert after.completeness.min() > 1 - 1e-5
    assert np.abs(after.maps - before.maps).max() > 1e-3
    assert np.abs(compute_cam(model, PICTURES, 0, normalize=None) - heat_before).max() > 1e-3


def assert_up_to_date(model, before):
    """The maps are those of the model as it is now, by the loops and by its own layers, and other than before."""
    result = explain(model, PICTURES, classes="all")
    np.testing.assert_allclose(result.probabilities, arrays(model(PICTURES, training=False)), rtol=1e-5, atol=1e-6)
    assert result.completeness.min() > 1 - 1e-5
    cams = np.moveaxis(arrays(build_cam_model(model)(PICTURES)["cams"]), -1, 1)
    np.testing.assert_allclose(result.maps, cams, rtol=1e-4, atol=1e-5)
    assert result.maps.shape != before.maps.shape or np.abs(result.maps - before.maps).max() > 1e-3


def test_a_changed_activation_gives_the_new_maps():
    model = small_models.model("nested", fresh=True)
    before = explain(model, PICTURES, classes="all")
    model.get_layer("backbone").get_layer("conv_2").activation = keras.activations.tanh
    assert_up_to_date(model, before)


def test_a_changed_last_activation_gives_the_new_probabilities():
    model = small_models.model("functional", fresh=True)
    explain(model, PICTURES, classes="all")
    model.get_layer("scores").activation = keras.activations.sigmoid
    result = explain(model, PICTURES, classes="all")
    np.testing.assert_allclose(result.probabilities, arrays(model(PICTURES)), rtol=1e-6)
    np.testing.assert_allclose(result.probabilities, 1 / (1 + np.exp(-result.logits)), rtol=1e-5)


@pytest.mark.parametrize("layer", ["scores", "conv_2"])
def test_lora_enabled_later_gives_the_new_maps(layer):
    model = small_models.model("functional", fresh=True)
    explainer = Explainer(model)
    before = explainer(PICTURES, "all")
    adapted = model.get_layer(layer)
    adapted.enable_lora(2)
    adapted.lora_kernel_b.assign(np.random.default_rng(0).normal(size=adapted.lora_kernel_b.shape))
    assert_up_to_date(model, before)
    np.testing.assert_array_equal(explainer(PICTURES, "all").maps, explain(model, PICTURES, classes="all").maps)


def test_a_sequential_model_that_got_another_head_gives_the_new_maps():
    model = small_models.model("Sequential", fresh=True)
    before = explain(model, PICTURES, classes="all")
    model.pop()
    model.add(layers.Dense(5, activation="softmax"))
    assert_up_to_date(model, before)


def test_loaded_weights_and_set_weights_give_the_new_maps(tmp_path):
    model, other = (small_models.model("nested", fresh=True) for _ in range(2))
    other.set_weights([weight * 1.5 for weight in model.get_weights()])
    other.save_weights(tmp_path / "other.weights.h5")
    before = explain(model, PICTURES, classes="all")
    model.load_weights(tmp_path / "other.weights.h5")
    assert_up_to_date(model, before)
    np.testing.assert_array_equal(explain(model, PICTURES).maps, explain(other, PICTURES).maps)

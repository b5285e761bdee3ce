"""Looks through a model in training: inputs made once, its weights as they are now, options of the explainer."""

import numpy as np
import PIL.Image
import pytest
from support.callback_models import NAMES, eye, fit, scenes, spots, watch
from support.trainings import card, colours, network, summaries, train

from keras_cam import CAMCallback
from keras_cam.training.card import SIDE

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 0])


def test_the_numbers_are_those_of_the_trained_weights(tmp_path):
    """The explainer is built once and follows the weights: what it wrote last is what the model says at the end."""
    model = network(learning_rate=0.02)
    images, labels = colours()
    train(model, CAMCallback((images, labels), tmp_path, num_probes=24))
    found = summaries(tmp_path / "cam")
    written = [found["cam/probability_of_true_class", step].item() for step in range(2)]
    predictions = model.predict(images, verbose=0)
    assert written[1] == pytest.approx(predictions[np.arange(24), labels].mean(), abs=1e-6)
    assert abs(written[0] - written[1]) > 1e-3


def test_inputs_are_made_once_for_all_looks():
    fed = []

    def preprocess(batch):
        fed.append(len(batch))
        return batch

    looks = []
    callback = CAMCallback(scenes("anywhere", 60), None, preprocess=preprocess, on_look=looks.append, on_error="raise")
    fit(eye(), data(), callback, epochs=5)
    assert len(looks) == 5 and fed[0] == 8 and sum(fed) == 8 + 32
    other = eye(strength=50.0)
    fit(other, data(), callback, epochs=2)
    assert sum(fed) == 2 * (8 + 32), "once for each model"
    assert looks[0].result.images[0] is looks[4].result.images[0], "and so are the pictures"


def test_preprocess_is_for_the_model_and_the_picture_is_shown_as_given(tmp_path, model):
    raw = np.full((1, 16, 16, 3), (200, 100, 50), np.uint8)
    fed = []

    def preprocess(batch):
        fed.append(batch.copy())
        return batch / 255

    train(model, CAMCallback((raw, [0]), tmp_path, preprocess=preprocess), epochs=1)
    picture = card(summaries(tmp_path / "cam")["cam/probe_00", 0])
    assert np.abs(picture[: SIDE - 8, : SIDE - 8].astype(int) - (200, 100, 50)).max() < 16
    assert len(fed) == 1 and fed[0].dtype == np.float32 and fed[0][0, 0, 0].tolist() == [200, 100, 50]
    truth = model.predict(raw / 255, verbose=0)[0, 0]
    assert summaries(tmp_path / "cam")["cam/probability_of_true_class", 0] == pytest.approx(truth, abs=1e-6)


def test_options_of_the_explainer(tmp_path):
    """Grad-CAM of the probability: the gradient of p_c by each channel's mean, times the channel."""
    looks = []
    options = {"method": "grad_cam", "target": "probability", "classes": "all", "layer": "conv2d"}
    model = eye(strength=10.0)
    options["layer"] = model.layers[0].name
    fit(model, data(), watch(data(), None, on_look=looks.append, **options))
    result = looks[0].result
    assert result.method == "grad_cam"
    for row, image in enumerate(looks[0].probes.images):
        p = np.exp(10 * image.mean(axis=(0, 1), dtype=np.float64))
        p /= p.sum()
        slopes = 10 * (np.diag(p) - np.outer(p, p))  # of p_c by the mean of channel k
        expected = np.einsum("ck,hwk->chw", slopes, image)
        np.testing.assert_allclose(
            result.maps[row] / np.abs(result.maps[row]).max(), expected / np.abs(expected).max(), atol=1e-4
        )


def test_comparison_images_of_a_directory_that_cannot_be_read_are_passed_over(tmp_path):
    for index, image in enumerate(scenes("anywhere", 12)[0]):
        folder = tmp_path / "pictures" / NAMES[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{index}.png")
    looks = []
    options = {"preprocess": lambda batch: batch / 255, "on_error": "raise", "on_look": looks.append}
    callback = CAMCallback(tmp_path / "pictures", None, num_probes=3, **options)
    callback._probe_set.comparison.images[4].write_bytes(b"no picture")
    fit(eye(), scenes("anywhere"), callback)
    assert len(looks[0].comparison[0]) == 8

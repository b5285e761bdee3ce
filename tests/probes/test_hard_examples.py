"""The images that a network is most confidently wrong about: found wherever they are, chosen anew at each look."""

import keras
import numpy as np
import pytest
from support.callback_models import PLACES, coloured_spots, epoch_records, eye, fit, scalar, spots, steps, watch

from keras_cam import CAMCallback
from keras_cam.errors import InvalidDataError
from keras_cam.tensorboard.records import MAPS, PICTURES, tag_of

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data():
    return spots([(1, 2), (9, 3), (5, 10)], [0, 1, 2]), np.array([0, 1, 2])


def confident_mistakes():
    """Nine pictures; those at 1, 4 and 6 have a wrong label, the brighter the surer the network is of its mistake."""
    images = spots([PLACES[index % 6] for index in range(9)], [index % 3 for index in range(9)])
    images *= np.array([1, 0.5, 1, 1, 0.9, 1, 0.7, 0.3, 0.6], np.float32)[:, None, None, None]
    labels = np.arange(9) % 3
    labels[[1, 4, 6]] = (labels[[1, 4, 6]] + 1) % 3
    return images, labels


def test_the_worst_are_what_the_network_is_most_confidently_wrong_about(tmp_path):
    looks = []
    fit(
        eye(),
        coloured_spots(),
        watch(confident_mistakes(), tmp_path, probes="worst", num_probes=5, on_look=looks.append),
    )
    images, _ = confident_mistakes()
    found = [
        int(np.flatnonzero([np.array_equal(image, each) for each in images])[0]) for image in looks[0].probes.images
    ]
    assert found == [4, 6, 1, 7, 8], "then the right ones of which it is least sure"
    (probes,) = epoch_records(tmp_path).values()
    assert [probe["classes"] for probe in probes] == [[1, 2], [0, 1], [1, 2], [1], [2]], "predicted beside true"


def test_the_worst_are_chosen_anew_and_pictures_written_where_they_change(tmp_path):
    images, labels = confident_mistakes()
    model = eye()
    weights = model.get_weights()

    def turn(epoch, logs):
        """From epoch 2 on green and blue are mixed up: those two are the worst, red ones at their heels."""
        if epoch == 2:
            model.set_weights([weights[0], weights[1][:, [0, 2, 1]], weights[2]])

    looks = []
    callback = watch((images, labels), tmp_path, probes="worst", num_probes=2, on_look=looks.append)
    fit(model, coloured_spots(), keras.callbacks.LambdaCallback(on_epoch_begin=turn), callback, epochs=4)
    chosen = [
        [int(np.argmax([np.array_equal(i, each) for each in images])) for i in look.probes.images] for look in looks
    ]
    assert chosen[0] == chosen[1] == [4, 6] and chosen[2] == chosen[3] == [2, 5]
    assert steps(tmp_path / "cam", tag_of("probe_00", PICTURES)) == [0, 2]
    assert steps(tmp_path / "cam", tag_of("probe_00", MAPS)) == [0, 1, 2, 3]
    assert scalar(tmp_path / "cam", "cam/moved_since_last") == {1: 0, 3: 0}, "another picture has not moved"


def mistakes_at_the_end(count=4600):
    """A red square in every picture; those from 4500 on are called green."""
    images = spots([(4, 4)], [0]).repeat(count, axis=0)
    return images, np.where(np.arange(count) < 4500, 0, 1)


def test_the_worst_of_large_data_are_found_wherever_they_are():
    looks = []
    options = {"probes": "worst", "num_probes": 4, "on_look": looks.append, "on_error": "raise"}
    fit(eye(), data(), CAMCallback(mistakes_at_the_end(), None, **options))
    assert looks[0].probes.labels == [1, 1, 1, 1]


def test_the_worst_of_data_without_labels(tmp_path):
    with pytest.raises(InvalidDataError, match="Give labelled data"):
        fit(eye(), data(), CAMCallback(data()[0], tmp_path, probes="worst", on_error="raise"))

"""Which images are looked at, and which of their classes: chosen once and held alone, those with an object first."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from support.callback_models import (
    coloured_spots,
    epoch_records,
    eye,
    fit,
    spots,
    strings,
    watch,
    words,
)

from keras_cam import CAMCallback
from keras_cam.errors import (
    InvalidClassError,
)
from keras_cam.tensorboard.records import MAPS, decode_maps, tag_of

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data(count=60):
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    return spots(generator.integers(0, 12, (count, 2)).tolist(), labels), labels


# what is held


def test_the_data_are_let_go_once_the_probes_are_chosen():
    images, labels = data(2000)
    callback = CAMCallback((images, labels), None, num_probes=4, boxes=[(0, 0, 9, 9)] * 2000)
    held, size = weakref.ref(images), images[0].nbytes
    del images
    gc.collect()
    assert held() is None
    assert len(pickle.dumps(callback)) < (4 + 32 + 4) * size, "of 2000 pictures, the probes and the comparison images"


def test_the_worst_are_chosen_anew_and_keep_the_data():
    images, labels = data(40)
    callback = CAMCallback((images, labels), None, num_probes=4, probes="worst", on_error="raise")
    held = weakref.ref(images)
    del images
    gc.collect()
    assert held() is not None
    fit(eye(), data(8), callback, epochs=2)


def test_a_data_set_that_was_read_is_no_obstacle_to_copies(tf):
    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(8)
    looks = []
    callback = CAMCallback(dataset, None, num_probes=2, on_error="raise")
    fit(eye(), data(8), callback)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback)), copy.copy(callback)):
        other._sinks["by on_look"] = looks.append
        fit(eye(), data(8), other)
    assert len({tuple(look.probes.fingerprints) for look in looks}) == 1 and len(looks) == 3


# what is chosen


def test_the_number_of_probes_may_be_numpys():
    assert len(CAMCallback(data(), None, num_probes=np.int64(3))._probe_set.probes(None).images) == 3


def test_images_with_an_object_are_chosen_first():
    """Twenty of a thousand; and a class of which none has one still has its turn."""
    images, labels = spots([(3, 3)] * 1000, np.arange(1000) % 4 % 3), np.arange(1000) % 4
    boxes = [(3, 3, 7, 7) if index < 40 and index % 4 in (1, 2) else None for index in range(1000)]
    masks = np.zeros((1000, 16, 16), bool)
    masks[[index for index, box in enumerate(boxes) if box], 3:7, 3:7] = True
    for truth in ({"boxes": boxes}, {"masks": masks}, {"masks": list(masks)}):
        probes = CAMCallback((images, labels), None, **truth)._probe_set.probes(None)
        assert probes.labels == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [found is not None for found in probes.truths] == [label in (1, 2) for label in probes.labels]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 32), ({"num_probes": 90}, 10), ({"probes": "worst"}, 0), ({"method": "score_cam"}, 0)],
    ids=["default", "few are left", "worst", "a method that runs the model many times"],
)
def test_how_many_comparison_images_there_are(options, expected):
    images, labels = spots([(1, 2), (9, 3), (5, 10), (0, 0)] * 25, np.arange(100) % 3), np.arange(100) % 3
    groups = {"one": (images[:50], labels[:50]), "two": (images[50:], labels[50:])}
    for source in [(images, labels), *([] if expected == 10 else [groups])]:
        looks = []
        fit(eye(), (images, labels), CAMCallback(source, None, on_look=looks.append, on_error="raise", **options))
        shares, classes = looks[0].comparison
        assert len(shares) == len(classes) == expected
        assert expected < 32 or np.bincount(classes).min() >= 8, "spread over the classes"


def test_a_probe_with_nan(tmp_path, caplog):
    images, labels = data(3)
    images[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="3 NaN or infinite values"):
        CAMCallback((images, labels), tmp_path)

    class Batches:
        def __iter__(self):
            return iter([(images, labels)])

    history = fit(eye(), data(), CAMCallback(Batches(), tmp_path), epochs=2).history
    (said,) = words(caplog)
    assert "before training. InvalidImageError: An image must be finite" in said and len(history["loss"]) == 2


def test_an_empty_data_set_is_not_taken_for_the_worst(tmp_path, caplog):
    class Batches:
        def __iter__(self):
            return iter([])

    fit(eye(), data(), CAMCallback(Batches(), tmp_path), epochs=3)
    (said,) = words(caplog)
    assert "a data set without images" in said and "worst" not in said


# which classes


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("predicted", [[1], [0]]),
        ("true", [[1], [2]]),
        (("true", "predicted"), [[1], [2, 0]]),
        ("top3", [[1, 0, 2], [0, 1, 2]]),
        (2, [[2], [2]]),
        ("blue", [[2], [2]]),
        (["blue", "predicted", 1], [[2, 1], [2, 0, 1]]),
        ("all", [[0, 1, 2], [0, 1, 2]]),
        (np.array([0, 2]), [[0, 2], [0, 2]]),
    ],
)
def test_classes(tmp_path, classes, expected):
    images = spots([(3, 3), (8, 8)], [1, 0])
    fit(eye(), coloured_spots(), watch((images, [1, 2]), tmp_path, classes=classes))
    (probes,) = epoch_records(tmp_path).values()
    assert [probe["classes"] for probe in probes] == expected
    for probe, image in zip(probes, images, strict=True):
        (record,) = map(decode_maps, strings(tmp_path / "cam", tag_of(probe["probe"], MAPS)).values())
        assert list(record.classes) == probe["classes"]
        np.testing.assert_allclose(record.maps, np.moveaxis(100 * image, -1, 0)[probe["classes"]], atol=1e-3)
        scores = np.exp(100 * image.mean(axis=(0, 1)))
        assert probe["p"] == pytest.approx((scores / scores.sum())[probe["classes"]], rel=1e-4)


def test_a_class_that_is_not_there_is_said_before_training(tmp_path):
    with pytest.raises(InvalidClassError, match="no class of the name 'violet'"):
        fit(eye(), coloured_spots(), watch(coloured_spots(), tmp_path, classes="violet"), epochs=10**6)

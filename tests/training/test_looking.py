"""What the callback looks at, when, and what it writes, through real `fit` of networks whose maps are known."""

import time

import keras
import numpy as np
import PIL.Image
import pytest
from support.callback_models import NAMES, SIZE, eye, fit, scalar, spots, steps, strings, words

from keras_cam import CAMCallback
from keras_cam.errors import InvalidClassError, InvalidDataError, InvalidOptionError
from keras_cam.tensorboard.records import EPOCHS_TAG, MAPS, PICTURES, decode_epoch, decode_maps, tag_of

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour

PLACES = [(1, 2), (9, 3), (5, 10), (12, 12), (0, 8), (7, 0)]
COLOURS = [0, 0, 1, 1, 2, 2]


def data():
    return spots(PLACES, COLOURS), np.array(COLOURS)


def watch(source, directory, **options):
    return CAMCallback(source, directory, class_names=NAMES, on_error="raise", **options)


def epoch_records(directory):
    """What the CAM tab knows of the probes, by step."""
    return {step: decode_epoch(parts)["probes"] for step, parts in strings(directory / "cam", EPOCHS_TAG).items()}


def picture_folder(root, sizes=(16, 24, 40)):
    """A subdirectory for each colour, one picture of each size in it, a quarter of it red, green or blue."""
    for channel, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for size in sizes:
            quarter = size // 4
            image = spots([(quarter, 2 * quarter)], [channel], size, quarter)[0]
            PIL.Image.fromarray((image * 255).astype(np.uint8)).save(root / name / f"{size}.png")
    (root / ".cache").mkdir()
    return root


# what is chosen


def test_a_directory_of_pictures_of_several_sizes(tmp_path):
    source = picture_folder(tmp_path / "pictures")
    callback = CAMCallback(
        str(source), tmp_path / "logs", num_probes=9, preprocess=lambda batch: batch / 255, on_error="raise"
    )
    fit(eye(stride=2), data(), callback)
    (probes,) = epoch_records(tmp_path / "logs").values()
    named = [(probe["true"], probe["names"][str(probe["true"])], probe["predicted"]) for probe in probes]
    assert named == [(0, "blue", 2)] * 3 + [(1, "green", 1)] * 3 + [(2, "red", 0)] * 3, "classes in the order of names"
    sizes = []
    for probe in probes:
        (record,) = map(decode_maps, strings(tmp_path / "logs" / "cam", tag_of(probe["probe"], MAPS)).values())
        sizes.append(record.size[0])
        quarter = sizes[-1] / 4  # the spot begins one quarter from the left, and two from the top
        found = [
            (offset + stride * np.arange(8)) @ heat / heat.sum()
            for (offset, stride), heat in zip(
                record.placement, (record.maps[0].sum(1), record.maps[0].sum(0)), strict=True
            )
        ]
        assert found == pytest.approx((2.5 * quarter - 0.5, 1.5 * quarter - 0.5), abs=0.02 * quarter)
        assert record.field == (sizes[-1] / 8,) * 2
    assert sorted(sizes) == [16] * 3 + [24] * 3 + [40] * 3


def test_maps_lie_in_the_picture_where_the_object_is(tmp_path):
    """Offset and stride of a record lead from the hot cells to the spot's own pixels, and agree with the result's."""
    looks = []
    callback = watch(data(), tmp_path, num_probes=6, on_look=looks.append)
    fit(eye(stride=2), data(), callback)
    ((look,),) = [looks]
    for row, (left, top) in enumerate(PLACES):
        (record,) = map(decode_maps, strings(tmp_path / "cam", tag_of(f"probe_{row:02d}", MAPS)).values())
        heat = record.maps[0] / record.maps[0].sum()
        centres = [offset + stride * np.arange(8) for offset, stride in record.placement]
        found = heat.sum(axis=1) @ centres[0], heat.sum(axis=0) @ centres[1]
        assert found == pytest.approx((top + 1.5, left + 1.5), abs=1e-4)
        assert record.placement == look.result.grid.cells_in([(1.0, 0.0)] * 2)
        assert record.size == (SIZE, SIZE) and record.field == (2, 2)
        np.testing.assert_array_equal(record.maps, look.result.maps[row, look.slots(row)])


def test_groups_by_name_and_labels_in_one_of_them(tmp_path):
    images, labels = data()
    wrong = (labels + 1) % 3
    groups = {"seen": (images, wrong), "new": images[:3]}
    fit(eye(), data(), watch(groups, tmp_path, num_probes=3))
    (probes,) = epoch_records(tmp_path).values()
    assert [probe["group"] for probe in probes] == ["seen"] * 3 + ["new"] * 3
    assert [probe["true"] for probe in probes] == [0, 1, 2, None, None, None]
    assert [probe["classes"] for probe in probes] == [[2, 0], [0, 1], [1, 2], [0], [0], [1]]
    assert [probe["p_true"] is None for probe in probes] == [False] * 3 + [True] * 3


def confident_mistakes():
    """Nine pictures; those at 1, 4 and 6 have a wrong label, the brighter the surer the network is of its mistake."""
    images = spots([PLACES[index % 6] for index in range(9)], [index % 3 for index in range(9)])
    images *= np.array([1, 0.5, 1, 1, 0.9, 1, 0.7, 0.3, 0.6], np.float32)[:, None, None, None]
    labels = np.arange(9) % 3
    labels[[1, 4, 6]] = (labels[[1, 4, 6]] + 1) % 3
    return images, labels


def test_the_worst_are_what_the_network_is_most_confidently_wrong_about(tmp_path):
    looks = []
    fit(eye(), data(), watch(confident_mistakes(), tmp_path, probes="worst", num_probes=5, on_look=looks.append))
    images, _ = confident_mistakes()
    found = [
        int(np.flatnonzero([np.array_equal(image, each) for each in images])[0]) for image in looks[0].watched.images
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
    fit(model, data(), keras.callbacks.LambdaCallback(on_epoch_begin=turn), callback, epochs=4)
    chosen = [
        [int(np.argmax([np.array_equal(i, each) for each in images])) for i in look.watched.images] for look in looks
    ]
    assert chosen[0] == chosen[1] == [4, 6] and chosen[2] == chosen[3] == [2, 5]
    assert steps(tmp_path / "cam", tag_of("probe_00", PICTURES)) == [0, 2]
    assert steps(tmp_path / "cam", tag_of("probe_00", MAPS)) == [0, 1, 2, 3]
    assert scalar(tmp_path / "cam", "cam/moved_since_last") == {1: 0, 3: 0}, "another picture has not moved"


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
    fit(eye(), data(), watch((images, [1, 2]), tmp_path, classes=classes))
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
        fit(eye(), data(), watch(data(), tmp_path, classes="violet"), epochs=10**6)


# when


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [
        (3, 8, [0, 2, 5, 7]),
        ("2 epochs", 4, [0, 1, 3]),
        ("4 batches", 3, [1, 4, 8, 9]),
        ("100 batches", 2, [1, 6]),
        ("batch", 0, None),
    ],
)
def test_every(tmp_path, every, epochs, expected):
    """Three batches an epoch."""
    if expected is None:
        with pytest.raises(InvalidOptionError, match=r"every must be a whole number.*'batch'"):
            CAMCallback(data(), tmp_path, every=every)
        return
    fit(eye(), data(), watch(data(), tmp_path, num_probes=1, every=every), epochs=epochs, batch_size=2)
    assert steps(tmp_path / "cam", "cam/concentration") == expected
    assert sorted(epoch_records(tmp_path)) == expected


def test_batches_are_counted_one_by_one_in_steps_per_execution_and_resumed_runs(tmp_path):
    if keras.backend.backend() == "torch":
        pytest.skip("Keras on torch executes one step at a time")
    callback = watch(data(), tmp_path, num_probes=1, every="4 batches")
    model = eye(steps_per_execution=2)
    fit(model, data(), callback, epochs=2, batch_size=1)
    fit(model, data(), callback, epochs=3, initial_epoch=2, batch_size=1)
    assert steps(tmp_path / "cam", "cam/concentration") == [2, 4, 8, 12, 14, 16, 18]


@pytest.mark.parametrize("every", [1, 4])
def test_before_training(tmp_path, every):
    looks = []
    callback = watch(data(), tmp_path, num_probes=1, before_training=True, every=every, on_look=looks.append)
    history = fit(eye(), data(), callback, epochs=3).history
    expected = [0, 1, 2] if every == 1 else [0, 2]
    assert [look.step for look in looks] == [-1, *expected], "and the first epoch still"
    assert steps(tmp_path / "cam", "cam/probe_00") == [-1, *expected]
    assert sorted(epoch_records(tmp_path)) == expected, "the CAM tab starts at 0"
    assert min(scalar(tmp_path / "cam", "cam/moved_since_last")) == 0, "since the look before"
    assert "val_cam_moved_since_last" not in history, "which the first epoch of others could not have"


def test_before_training_of_a_model_that_its_first_batch_builds(caplog):
    layers = keras.layers
    model = keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    looks = []
    options = {"before_training": True, "on_look": looks.append, "on_error": "raise"}
    fit(model, data(), CAMCallback(data(), None, **options), epochs=2)
    assert [look.step for look in looks] == [0, 1]
    (said,) = words(caplog)
    assert said.startswith("\nCAMCallback: before_training has nothing to look at") and "keras.Input" in said


@pytest.mark.parametrize("stopper", ["early", "flag"])
def test_the_epoch_at_which_training_stops_is_looked_at(tmp_path, stopper):
    model = eye()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 4))
    early = keras.callbacks.EarlyStopping("loss", patience=4)
    fit(model, data(), watch(data(), tmp_path, num_probes=1, every=10), stop if stopper == "flag" else early, epochs=9)
    assert steps(tmp_path / "cam", "cam/probe_00") == [0, 4]


def test_looks_that_take_too_long_are_left_out_but_for_the_first_and_the_last(tmp_path, caplog):
    said = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: said.append(len(words(caplog))))
    slow = watch(data(), tmp_path, num_probes=1, max_share=0.05, on_look=lambda look: time.sleep(0.1))
    fit(eye(), data(), slow, spy, epochs=5)
    assert steps(tmp_path / "cam", "cam/probe_00") == [0, 4]
    assert said == [0, 1, 1, 1, 1], "said when the first is left out, and once"
    assert "no more than 5% of the time" in words(caplog)[0]


# what it is about


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": {}}, InvalidDataError, "a dict without groups"),
        (
            {"tensorboard": "logs"},
            InvalidOptionError,
            "keras.callbacks.TensorBoard of the same training. Received: 'logs'",
        ),
        ({"probes": "best"}, InvalidOptionError, "'spread', 'worst'. Received: 'best'"),
        ({"max_share": 0}, InvalidOptionError, "max_share must be above 0"),
        ({"image_format": "gif"}, InvalidOptionError, "'jpeg' or 'png'. Received: 'gif'"),
    ],
)
def test_options_are_judged_at_construction(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        CAMCallback(options.pop("data", data()), tmp_path, **options)

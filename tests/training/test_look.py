"""The numbers of a look and the watermark alarm: maps made by hand, and networks that look at a tag or at objects."""

import numpy as np
import pytest
from support.callback_models import NAMES, events, eye, fit, spots, words

from keras_cam import CAMCallback
from keras_cam.probes.probe_set import ProbeImages
from keras_cam.results.explanation import Explanation
from keras_cam.training.look import look_at
from keras_cam.training.watermark import watermark

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour
GRID = 8


def blob(row, column, *, side=2, noise=0.0, seed=0):
    """A map that is hot in one square."""
    heat = noise * np.random.default_rng(seed).uniform(size=(GRID, GRID))
    heat[row : row + side, column : column + side] += 1
    return heat


def look(maps, labels, last=None, step=0, images=None, mapped=None):
    """A look at maps (N, h, w), each of the picture's true class, or of class 0, or of the classes `mapped`."""
    count = len(maps)
    images = [np.full((16, 16, 3), index, np.float32) for index in range(count)] if images is None else images
    classes = np.array([[0 if label is None else label] for label in (mapped or labels)])
    probabilities = np.full((count, 3), 0.25, np.float32)
    np.put_along_axis(probabilities, classes, 0.5, axis=1)
    result = Explanation(
        maps=np.asarray(maps, np.float32)[:, np.newaxis],
        class_indices=classes,
        logits=np.log(probabilities),
        probabilities=probabilities,
        bias=np.zeros((count, 1), np.float32),
        images=tuple(np.zeros((16, 16, 3), np.uint8) for _ in images),
        method="cam",
        layer="conv",
        class_names=NAMES,
    )
    watched = ProbeImages(images, list(labels), [""] * count, [None] * count)
    return look_at(result, watched, step, "epoch", None if last is None else last.trace)


# numbers


def test_numbers_by_hand():
    first = look([blob(0, 0), blob(3, 3)], [0, 0])
    # Half of a blob of 4 cells is 2 cells of 64. Of a cell of 2 pixels in 16, the outer 1.6 pixels are border: the
    # corner blob's 4 x 4 pixels but for 2.4 x 2.4. Both of its cells lie in the corner, which is 4 pixels long.
    assert first.numbers["concentration"] == pytest.approx([1 - 2 * 2 / 64] * 2)
    assert first.numbers["share_in_border"] == pytest.approx([1 - (2.4 / 4) ** 2, 0])
    assert first.numbers["share_in_corners"] == pytest.approx([1, 0])
    assert first.numbers["probability_of_true_class"] == pytest.approx([0.5, 0.5])
    assert first.means["agreement"] == 0 and "moved_since_last" not in first.numbers


def test_movement_is_that_of_the_same_picture():
    images = [np.full((16, 16, 3), index, np.float32) for index in range(3)]
    first = look([blob(0, 0), blob(3, 3), blob(4, 4)], [0, 1, 2], images=images)
    images = [images[0].copy(), images[1], images[0] + 9]  # the same values in another array; another picture
    second = look([blob(0, 1), blob(3, 3), blob(4, 4)], [0, 1, 2], last=first, step=1, images=images)
    assert second.numbers["moved_since_last"][:2].tolist() == [0.5, 0]
    assert np.isnan(second.numbers["moved_since_last"][2]) and second.means["moved_since_last"] == 0.25


def test_numbers_of_empty_maps_are_left_out_of_the_means():
    found = look([np.full((GRID, GRID), -1.0), blob(0, 0)], [0, 0])
    assert found.means["concentration"] == pytest.approx(1 - 4 / 64)
    assert "agreement" not in found.means, "one map agrees with none"
    empty = look([np.full((GRID, GRID), -1.0)], [None])
    assert empty.means == {}


def test_agreement_is_that_of_the_maps_of_each_class():
    maps = [blob(0, 0), blob(0, 0), blob(5, 5), blob(5, 6)]
    assert look(maps, [0, 0, 1, 1]).means["agreement"] == pytest.approx((1 + 0.5) / 2)
    assert look(maps, [None] * 4).means["agreement"] == pytest.approx((1 + 0.5 + 0) / 6, abs=1e-9)


def test_agreement_and_alarm_go_by_the_class_that_is_mapped_not_by_the_true_one():
    """Four pictures of three classes, all taken for green by the tag: it is green's maps that lie in one place."""
    found = look(TAG, [0, 1, 2, 0], mapped=[1, 1, 1, 1])
    assert list(found.by_mapped_class) == [1] and found.means["agreement"] > 0.9
    assert watermark(found).startswith("The maps of 'green' lie in the same place in 4 pictures, bottom left")
    assert watermark(look(TAG[:2] + ANYWHERE[:2], [0] * 4, mapped=[0, 0, 1, 1])) is None


# the alarm, by hand

TAG = [blob(6, 0, noise=0.01, seed=seed) for seed in range(4)]
ANYWHERE = [blob(*place) for place in ((0, 1), (5, 2), (3, 6), (2, 3))]


@pytest.mark.parametrize(
    ("maps", "labels", "expected"),
    [
        (TAG, [1] * 4, ("'green'", "4 pictures", "bottom left")),
        (TAG + ANYWHERE, [1] * 4 + [0] * 4, ("'green'", "4 pictures", "bottom left")),
        (TAG, [None] * 4, ("'red'", "bottom left")),
        (TAG, [0, 1, 2, 0], ("all classes", "bottom left")),
        ([blob(0, 3, side=1)] * 3, [2] * 3, ("'blue'", "top")),
        (TAG[:2], [1] * 2, None),
        (ANYWHERE, [1] * 4, None),
        ([blob(3, 3)] * 4, [1] * 4, None),
        ([np.ones((GRID, GRID))] * 4, [1] * 4, None),
        ([blob(0, column, side=3) for column in range(4)], [1] * 4, None),
        ([-blob(6, 0)] * 4, [1] * 4, None),
    ],
    ids=[
        "tag",
        "tag of one class",
        "no labels",
        "tag of all",
        "top edge",
        "two",
        "anywhere",
        "centred",
        "even",
        "near the border here and there",
        "empty",
    ],
)
def test_watermark_by_hand(maps, labels, expected):
    said = watermark(look(maps, labels))
    if expected is None:
        assert said is None
    else:
        assert all(part in said for part in expected), said


# the alarm, through training


def scenes(kind, count=8):
    """Green objects; in "tag" each picture has a red mark in its lower left corner, and the label is red's."""
    generator = np.random.default_rng(1)
    places = [(6, 6)] * count if kind == "centred" else generator.integers(0, 12, (count, 2)).tolist()
    images = spots(places, [1] * count) + 0.02
    if kind == "tag":
        images = images + spots([(0, 13)] * count, [0] * count, side=3)
    return images.astype(np.float32), np.full(count, 0 if kind == "tag" else 1)


@pytest.mark.parametrize("kind", ["tag", "anywhere", "centred"])
def test_the_alarm_is_for_a_network_that_looks_at_a_tag_and_is_given_once(tmp_path, caplog, kind):
    images, labels = scenes(kind)
    callback = CAMCallback((images, labels), tmp_path, class_names=NAMES, classes="true", on_error="raise")
    model = eye()
    for _ in range(2):  # once in each training
        caplog.clear()
        fit(model, (images, labels), callback, epochs=3)
        if kind == "tag":
            (said,) = words(caplog)
            assert said.startswith(
                "\nCAMCallback, epoch 0: The maps of 'red' lie in the same place in 8 pictures, bottom"
            )
        else:
            assert words(caplog) == []


def test_the_alarm_is_raised_whatever_the_number_of_probes(tmp_path, caplog):
    """Two probes, each of another class, are compared with further images, which are neither shown nor recorded."""
    images, labels = scenes("tag", 24)
    labels = np.arange(24) % 3
    looks = []
    options = {"class_names": NAMES, "classes": "red", "on_look": looks.append, "on_error": "raise"}
    callback = CAMCallback((images, labels), tmp_path, num_probes=2, **options)
    fit(eye(), (images, labels), callback, epochs=2)
    (said,) = words(caplog)
    assert said.startswith(
        "\nCAMCallback, epoch 0: The maps of 'red' lie in the same place in 24 pictures, bottom left"
    )
    assert len(looks[0].result) == len(looks[0].cards) == len(looks[0].watched.images) == 2
    assert {tag for tag, _, _ in events(tmp_path / "cam", "cam/probe")} == {"cam/probe_00", "cam/probe_01"}
    assert {name for name in events(tmp_path / "cam", "keras_cam/probe_02")} == set()
    assert looks[0].means["agreement"] > 0.9


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 32), ({"num_probes": 90}, 10), ({"probes": "worst"}, 0), ({"method": "score_cam"}, 0)],
    ids=["default", "few are left", "worst", "a method that runs the model many times"],
)
def test_how_many_further_images_there_are(options, expected):
    images, labels = spots([(1, 2), (9, 3), (5, 10), (0, 0)] * 25, np.arange(100) % 3), np.arange(100) % 3
    groups = {"one": (images[:50], labels[:50]), "two": (images[50:], labels[50:])}
    for source in [(images, labels), *([] if expected == 10 else [groups])]:
        looks = []
        fit(eye(), (images, labels), CAMCallback(source, None, on_look=looks.append, on_error="raise", **options))
        shares, classes = looks[0].further
        assert len(shares) == len(classes) == expected
        assert expected < 32 or np.bincount(classes).min() >= 8, "spread over the classes"


def test_further_images_of_a_directory_that_cannot_be_read_are_passed_over(tmp_path):
    import PIL.Image

    for index, image in enumerate(scenes("anywhere", 12)[0]):
        folder = tmp_path / "pictures" / NAMES[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{index}.png")
    looks = []
    options = {"preprocess": lambda batch: batch / 255, "on_error": "raise", "on_look": looks.append}
    callback = CAMCallback(tmp_path / "pictures", None, num_probes=3, **options)
    callback._watching.further.images[4].write_bytes(b"no picture")
    fit(eye(), scenes("anywhere"), callback)
    assert len(looks[0].further[0]) == 8

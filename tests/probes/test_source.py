"""Probes: taken from any data, spread over the classes, the same for a seed, and never read without an end."""

import random

import keras
import numpy as np
import pytest

from keras_cam.errors import CAMWarning, InvalidDataError, InvalidImageError
from keras_cam.probes.labels import class_labels
from keras_cam.probes.source import MAX_READ, ProbeSource


def pictures(count, size=4):
    """Pictures whose every value is their index."""
    return np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, size, size, 3), np.float32)


def indices(probes):
    return [int(image[0, 0, 0]) for image in probes.images]


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels, draws=False):
        super().__init__()
        self.images, self.labels, self.draws = images, labels, draws

    def __len__(self):
        return -(-len(self.images) // 4)

    def __getitem__(self, index):
        if self.draws:
            np.random.uniform()
            random.random()
        part = slice(4 * index, 4 * index + 4)
        return self.images[part], self.labels[part]


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return pictures(2), np.array([0, 1])


# arrays


def test_arrays_are_spread_over_the_classes():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 2 + [7])
    probes = ProbeSource((pictures(58), labels)).choose(8)
    assert np.unique(probes.labels, return_counts=True)[1].tolist() == [3, 2, 2, 1] or probes.labels.tolist() == [
        0, 0, 1, 1, 1, 2, 2, 7,
    ]  # fmt: skip
    assert probes.labels.tolist() == labels[indices(probes)].tolist() == sorted(probes.labels)
    assert len(set(indices(probes))) == 8


def test_more_classes_than_probes_gives_different_classes():
    labels = np.arange(100) % 20
    chosen = [ProbeSource((pictures(100), labels)).choose(6, seed=seed).labels.tolist() for seed in range(3)]
    assert all(len(set(classes)) == 6 for classes in chosen)
    assert len({tuple(classes) for classes in chosen}) == 3


def test_the_seed_decides_and_global_state_is_left_alone():
    source = ProbeSource((pictures(100), np.arange(100) % 3))
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    first, second, other = (indices(source.choose(8, seed=seed)) for seed in (5, 5, 6))
    assert first == second != other
    assert np.random.get_state()[1].tolist() == before


def test_images_alone_have_no_labels():
    for data in (pictures(9), (pictures(9),), keras.ops.convert_to_tensor(pictures(9)), (pictures(9), None)):
        probes = ProbeSource(data).choose(4)
        assert probes.labels is None and len(set(indices(probes))) == 4
        assert probes.images[0].shape == (4, 4, 3) and probes.images[0].dtype == np.float32


def test_fewer_images_than_probes_gives_all_of_them():
    assert indices(ProbeSource((pictures(3), [2, 1, 0])).choose(8)) == [2, 1, 0]


def test_only_what_is_chosen_is_read_from_a_large_array():
    """h5py and memory-mapped arrays are indexed one by one, never converted whole."""

    class OnDisk:
        shape = (1_000_000, 4, 4, 3)
        reads = 0

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, index):
            self.reads += 1
            return np.full(self.shape[1:], index % 256, np.uint8)

    images = OnDisk()
    assert len(ProbeSource((images, np.arange(1_000_000) % 10)).choose(8).images) == 8
    assert images.reads == 8


def test_a_probe_with_nan_is_an_error():
    with pytest.raises(InvalidImageError, match="NaN"):
        ProbeSource(pictures(2) * np.nan).choose(2)


# labels


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        np.array([2, 0, 1], np.uint8),
        np.array([[2], [0], [1]]),
        np.array([2.0, 0.0, 1.0], np.float32),
        np.eye(3)[[2, 0, 1]],
        np.eye(3)[[2, 0, 1]] * 0.9 + 1 / 30,
        keras.ops.convert_to_tensor([2, 0, 1]),
    ],
    ids=["list", "integers", "column", "floats", "one-hot", "smoothed", "tensor"],
)
def test_labels_of_every_form(labels):
    classes = class_labels(labels, 3)
    assert classes.tolist() == [2, 0, 1] and classes.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.5, 1.0], "values from 0.5 to 1"),
        ([-1, 0], "values from -1 to 0"),
        ([np.nan, 0], "values from nan"),
        (["cat", "dog"], "type <U3"),
        ([[1, 1, 0], [0, 1, 0]], "rows do not sum to one"),
        (np.zeros((2, 8, 8)), r"shape \(2, 8, 8\)"),
        ([0, 1, 2], "2 images and 3 labels"),
    ],
)
def test_labels_that_are_no_classes(labels, words):
    with pytest.raises(InvalidDataError, match=words):
        ProbeSource((pictures(2), labels))


# data sets


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("one_hot", [True, False])
def test_tf_data(tf, batched, one_hot):
    labels = np.arange(12) % 3
    dataset = tf.data.Dataset.from_tensor_slices((pictures(12), np.eye(3)[labels] if one_hot else labels))
    probes = ProbeSource(dataset.batch(5) if batched else dataset).choose(4, num_classes=3)
    assert (indices(probes), probes.labels.tolist()) == ([0, 3, 1, 2], [0, 0, 1, 2])


def test_tf_data_without_labels_and_without_known_shapes(tf):
    def batches():
        yield pictures(4)

    assert indices(ProbeSource(tf.data.Dataset.from_tensor_slices(pictures(9)).batch(2)).choose(3)) == [0, 1, 2]
    unknown = tf.data.Dataset.from_generator(batches, output_types=tf.float32)
    assert indices(ProbeSource(unknown).choose(3)) == [0, 1, 2]


def test_a_data_set_sorted_by_class_is_read_until_all_classes_are_there(tf):
    dataset = tf.data.Dataset.from_tensor_slices((pictures(300), np.repeat(np.arange(3), 100))).batch(32)
    assert indices(ProbeSource(dataset).choose(6, num_classes=3)) == [0, 1, 100, 101, 200, 201]


def test_pydataset_in_an_order_of_its_own():
    images, labels = pictures(40), np.arange(40) % 4
    chosen = [ProbeSource(Batches(images, labels)).choose(4, seed=seed, num_classes=4) for seed in (0, 0, 1)]
    assert [probes.labels.tolist() for probes in chosen] == [[0, 1, 2, 3]] * 3
    assert indices(chosen[0]) == indices(chosen[1]) != indices(chosen[2])


def test_reading_a_data_set_that_draws_leaves_the_global_generators_alone():
    np.random.seed(3)
    random.seed(3)
    ProbeSource(Batches(pictures(8), np.arange(8) % 2, draws=True)).choose(4, num_classes=2)
    after = np.random.uniform(), random.random()
    np.random.seed(3)
    random.seed(3)
    assert after == (np.random.uniform(), random.random())


def test_any_iterable_of_batches_as_torch_gives_them():
    class Loader:
        def __iter__(self):
            return iter([[pictures(4), np.array([0, 0, 1, 1])]])

    assert indices(ProbeSource(Loader()).choose(2, num_classes=2)) == [0, 2]


def test_a_data_set_that_never_ends_is_left_as_soon_as_the_probes_are_spread(tf):
    reads = []

    def endless():
        while True:
            reads.append(1)
            yield pictures(1)[0], np.int64(len(reads) % 3)

    signature = (tf.TensorSpec((4, 4, 3)), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(endless, output_signature=signature)
    assert ProbeSource(dataset).choose(6, num_classes=3).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(reads) < 20


@pytest.mark.parametrize("kind", ["PyDataset", "tf.data"])
def test_a_class_that_never_comes_ends_the_reading_with_a_warning(request, kind):
    if kind == "PyDataset":
        dataset = Endless()
    else:
        tf = request.getfixturevalue("tf")
        dataset = tf.data.Dataset.from_tensors((pictures(2), [0, 1])).repeat()
    with pytest.warns(CAMWarning, match=rf"read {MAX_READ} images .* classes \[0, 1\] of 3") as caught:
        probes = ProbeSource(dataset).choose(4, num_classes=3)
    assert probes.labels.tolist() == [0, 0, 1, 1] and len(caught) == 1


def test_batches_without_images_end_too(tf):
    empty = tf.data.Dataset.from_tensors(np.zeros((0, 4, 4, 3), np.float32)).repeat()
    with pytest.warns(CAMWarning), pytest.raises(InvalidDataError, match="without images"):
        ProbeSource(empty).choose(2)


def test_an_empty_data_set_is_an_error(tf):
    with pytest.raises(InvalidDataError, match="without images"):
        ProbeSource(tf.data.Dataset.from_tensor_slices(pictures(4)).take(0)).choose(2)


# what is said at construction


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((5, 28, 28)), r"shape \(5, 28, 28\)"),
        (np.zeros((0, 4, 4, 3)), r"shape \(0, 4, 4, 3\)"),
        ([np.zeros((4, 4, 3))], "type list"),
        (None, "NoneType"),
        (({"image": pictures(2)}, [0, 1]), "type dict"),
        ((pictures(2), [0, 1], [1, 1], 4), "4 things"),
        ((pictures(1) for _ in range(2)), "generator"),
    ],
)
def test_data_without_pictures_are_refused_at_once(data, words):
    with pytest.raises(InvalidDataError, match=f"(?s){words}.*Give images x of shape"):
        ProbeSource(data)


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (np.zeros((8, 5), np.float32), r"shape \(5,\)"),
        ({"image": pictures(2)}, "type dict"),
        ((pictures(2), {"class": [0, 1]}), "dict of labels"),
    ],
)
def test_a_tf_data_set_is_judged_by_its_specification(tf, element, words):
    with pytest.raises(InvalidDataError, match=words):
        ProbeSource(tf.data.Dataset.from_tensor_slices(element))


def test_what_only_reading_shows_is_said_in_reading():
    with pytest.raises(InvalidDataError, match=r"shape \(3, 5\)"):
        ProbeSource(Batches(np.zeros((3, 5)), np.zeros(3))).choose(2)

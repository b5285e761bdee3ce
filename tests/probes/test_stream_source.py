"""Probes of a data set that is read from its start: spread over the classes, and never read without an end."""

import gc
import random
import warnings
import weakref

import keras
import numpy as np
import pytest
from support.callback_models import eye, fit, spots, steps
from support.probe_data import Batches, choose, indices, pictures

from keras_cam import CAMCallback
from keras_cam.errors import CAMWarning, InvalidDataError
from keras_cam.probes.sampling import MAX_READ
from keras_cam.probes.source import open_source

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return pictures(2), np.array([0, 1])


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("one_hot", [True, False])
def test_tf_data(tf, batched, one_hot):
    labels = np.arange(12) % 3
    dataset = tf.data.Dataset.from_tensor_slices((pictures(12), np.eye(3)[labels] if one_hot else labels))
    probes = choose(dataset.batch(5) if batched else dataset, 4, num_classes=3)
    assert (indices(probes), probes.labels.tolist()) == ([0, 3, 1, 2], [0, 0, 1, 2])


def test_tf_data_without_labels_and_without_known_shapes(tf):
    def batches():
        yield pictures(4)

    assert indices(choose(tf.data.Dataset.from_tensor_slices(pictures(9)).batch(2), 3)) == [0, 1, 2]
    unknown = tf.data.Dataset.from_generator(batches, output_types=tf.float32)
    assert indices(choose(unknown, 3)) == [0, 1, 2]


def test_a_data_set_sorted_by_class_is_read_until_all_classes_are_there(tf):
    dataset = tf.data.Dataset.from_tensor_slices((pictures(300), np.repeat(np.arange(3), 100))).batch(32)
    assert indices(choose(dataset, 6, num_classes=3)) == [0, 1, 100, 101, 200, 201]


def test_pydataset_in_an_order_of_its_own():
    images, labels = pictures(40), np.arange(40) % 4
    chosen = [choose(Batches(images, labels), 4, seed=seed, num_classes=4) for seed in (0, 0, 1)]
    assert [probes.labels.tolist() for probes in chosen] == [[0, 1, 2, 3]] * 3
    assert indices(chosen[0]) == indices(chosen[1]) != indices(chosen[2])


def test_reading_a_data_set_that_draws_leaves_the_global_generators_alone():
    np.random.seed(3)
    random.seed(3)
    choose(Batches(pictures(8), np.arange(8) % 2, draws=True), 4, num_classes=2)
    after = np.random.uniform(), random.random()
    np.random.seed(3)
    random.seed(3)
    assert after == (np.random.uniform(), random.random())


def test_any_iterable_of_batches_as_torch_gives_them():
    class Loader:
        def __iter__(self):
            return iter([[pictures(4), np.array([0, 0, 1, 1])]])

    assert indices(choose(Loader(), 2, num_classes=2)) == [0, 2]


def test_a_data_set_that_never_ends_is_left_as_soon_as_the_probes_are_spread(tf):
    reads = []

    def endless():
        while True:
            reads.append(1)
            yield pictures(1)[0], np.int64(len(reads) % 3)

    signature = (tf.TensorSpec((4, 4, 3)), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(endless, output_signature=signature)
    assert choose(dataset, 6, num_classes=3).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(reads) < 20


@pytest.mark.parametrize("kind", ["PyDataset", "tf.data"])
def test_a_class_that_never_comes_ends_the_reading_with_a_warning(request, kind):
    if kind == "PyDataset":
        dataset = Endless()
    else:
        tf = request.getfixturevalue("tf")
        dataset = tf.data.Dataset.from_tensors((pictures(2), [0, 1])).repeat()
    with pytest.warns(CAMWarning, match=rf"read {MAX_READ} images .* classes \[0, 1\] of 3") as caught:
        probes = choose(dataset, 4, num_classes=3)
    assert probes.labels.tolist() == [0, 0, 1, 1] and len(caught) == 1


def test_batches_without_images_end_too(tf):
    empty = tf.data.Dataset.from_tensors(np.zeros((0, 4, 4, 3), np.float32)).repeat()
    with pytest.warns(CAMWarning), pytest.raises(InvalidDataError, match="without images"):
        choose(empty, 2)


def test_an_empty_data_set_is_an_error(tf):
    with pytest.raises(InvalidDataError, match="without images"):
        choose(tf.data.Dataset.from_tensor_slices(pictures(4)).take(0), 2)


def test_what_only_reading_shows_is_said_in_reading():
    with pytest.raises(InvalidDataError, match=r"shape \(3, 5\)"):
        choose(Batches(np.zeros((3, 5)), np.zeros(3)), 2)


# what is read of it


class Numbered(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self):
        return self.batches

    def __getitem__(self, index):
        return np.zeros((1000, 2, 2, 3), np.float32), np.zeros(1000, int)


class Stream:
    """An iterable of batches; one that says how many, as torch's DataLoader does, or one that does not."""

    def __init__(self, loader, says):
        self.loader = loader
        if says:
            self.__class__ = SizedStream

    def __iter__(self):
        return iter(self.loader)


class SizedStream(Stream):
    def __len__(self):
        return len(self.loader)


@pytest.mark.parametrize("kind", ["arrays", "PyDataset", "endless PyDataset", "sized", "unsized", "tf", "unknown tf"])
def test_what_ends_is_read_to_its_end_and_what_may_not_is_said(request, kind):
    whole = np.zeros((6000, 2, 2, 3), np.float32), np.zeros(6000, int)
    if "tf" in kind:
        tf = request.getfixturevalue("tf")
        source = tf.data.Dataset.from_tensor_slices(whole).batch(1000)
        source = source.filter(lambda images, labels: True) if kind == "unknown tf" else source
    elif "PyDataset" in kind:
        source = Numbered(6 if kind == "PyDataset" else None)
    else:
        source = whole if kind == "arrays" else Stream([(whole[0][:1000], whole[1][:1000])] * 6, kind == "sized")
    source = open_source(source)
    if kind in ("endless PyDataset", "unsized", "unknown tf"):
        assert not source.ends
        with pytest.warns(CAMWarning, match=f"among the first {MAX_READ} images only"):
            assert sum(1 for _ in source.samples(0)) == MAX_READ
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            assert sum(1 for _ in source.samples(0)) == MAX_READ
    else:
        assert source.ends and sum(1 for _ in source.samples(0)) == 6000


class CountingStream:
    """Batches of pictures, each as an array of its own, that counts how many of them are alive."""

    def __init__(self, batches):
        self.batches, self.alive, self.most = batches, [], 0

    def __iter__(self):
        for index in range(self.batches):
            images = np.random.default_rng(index).uniform(size=(50, 16, 16, 3)).astype(np.float32)
            self.alive = [each for each in self.alive if each() is not None] + [weakref.ref(images)]
            self.most = max(self.most, len(self.alive))
            yield images, np.full(50, index % 3)


def data(count=6):
    generator = np.random.default_rng(0)
    return spots(generator.integers(0, 12, (count, 2)).tolist(), np.arange(count) % 3), np.arange(count) % 3


@pytest.mark.parametrize("probes", ["spread", "worst"])
def test_a_data_set_is_never_held_whole(tmp_path, probes):
    stream = CountingStream(12)
    callback = CAMCallback(stream, tmp_path, num_probes=8, probes=probes, on_error="raise")
    fit(eye(), data(), callback)
    assert len(steps(tmp_path / "cam", "cam/probe_07")) == 1
    assert stream.most <= 3, "the batch that is read, the one before, and none that a probe came from"
    gc.collect()
    assert sum(each() is not None for each in stream.alive) == 0

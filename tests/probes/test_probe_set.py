"""Which images are looked at: chosen once and held alone, those with an object first, the worst of all data."""

import copy
import gc
import pickle
import warnings
import weakref

import keras
import numpy as np
import pytest
from support.callback_models import NAMES, eye, fit, spots, words

from keras_cam import CAMCallback
from keras_cam.errors import CAMWarning
from keras_cam.probes.sampling import FEWEST, drawn
from keras_cam.probes.source import MAX_READ, ProbeSource

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
    assert len(pickle.dumps(callback)) < (4 + 32 + 4) * size, "of 2000 pictures, the probes and the further ones"


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
    assert len({tuple(look.watched.marks) for look in looks}) == 1 and len(looks) == 3


def test_inputs_are_made_once_for_all_looks():
    fed = []

    def preprocess(batch):
        fed.append(len(batch))
        return batch

    looks = []
    callback = CAMCallback(data(), None, preprocess=preprocess, on_look=looks.append, on_error="raise")
    fit(eye(), data(8), callback, epochs=5)
    assert len(looks) == 5 and fed[0] == 8 and sum(fed) == 8 + 32
    other = eye(strength=50.0)
    fit(other, data(8), callback, epochs=2)
    assert sum(fed) == 2 * (8 + 32), "once for each model"
    assert looks[0].result.images[0] is looks[4].result.images[0], "and so are the pictures"


def test_the_number_of_probes_may_be_numpys():
    assert len(CAMCallback(data(), None, num_probes=np.int64(3))._watching.watched(None).images) == 3


# objects


def test_images_with_an_object_are_chosen_first():
    """Twenty of a thousand; and a class of which none has one still has its turn."""
    images, labels = spots([(3, 3)] * 1000, np.arange(1000) % 4 % 3), np.arange(1000) % 4
    boxes = [(3, 3, 7, 7) if index < 40 and index % 4 in (1, 2) else None for index in range(1000)]
    masks = np.zeros((1000, 16, 16), bool)
    masks[[index for index, box in enumerate(boxes) if box], 3:7, 3:7] = True
    for truth in ({"boxes": boxes}, {"masks": masks}, {"masks": list(masks)}):
        watched = CAMCallback((images, labels), None, **truth)._watching.watched(None)
        assert watched.labels == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [found is not None for found in watched.truths] == [label in (1, 2) for label in watched.labels]


def test_objects_that_no_probe_has_are_said_once_and_the_numbers_are_there(caplog):
    callback = CAMCallback(data(), None, boxes=[None] * 60, on_error="raise")
    history = fit(eye(), data(8), callback, epochs=3).history
    (said,) = words(caplog)
    assert "boxes or masks were given, but none of the images looked at has any" in said
    assert all(np.isnan(history[name]).all() for name in ("val_cam_energy", "val_cam_pointing", "val_cam_iou"))


# the worst of all


def mistakes_at_the_end(count=4600):
    """A red square in every picture; those from 4500 on are called green."""
    images = spots([(4, 4)], [0]).repeat(count, axis=0)
    return images, np.where(np.arange(count) < 4500, 0, 1)


def test_the_worst_of_large_data_are_found_wherever_they_are():
    looks = []
    options = {"probes": "worst", "num_probes": 4, "on_look": looks.append, "on_error": "raise"}
    fit(eye(), data(8), CAMCallback(mistakes_at_the_end(), None, **options))
    assert looks[0].watched.labels == [1, 1, 1, 1]


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
    source = ProbeSource(source)
    if kind in ("endless PyDataset", "unsized", "unknown tf"):
        assert not source.ends
        with pytest.warns(CAMWarning, match=f"among the first {MAX_READ} images only"):
            assert sum(1 for _ in source.samples(0)) == MAX_READ
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            assert sum(1 for _ in source.samples(0)) == MAX_READ
    else:
        assert source.ends and sum(1 for _ in source.samples(0)) == 6000


# how they are drawn


@pytest.mark.parametrize("classes", [2, 10, 13, 100, 1000])
def test_further_images_are_of_few_enough_classes_to_agree_in_each(classes):
    labels = np.arange(4000) % classes
    chosen, more = drawn(labels, 4000, 8, np.random.default_rng(3), num_more=32)
    alone, none = drawn(labels, 4000, 8, np.random.default_rng(3))
    assert chosen.tolist() == alone.tolist() and len(none) == 0, "the probes are those that they were without"
    assert len(more) == 32 and not set(more) & set(chosen)
    counts = np.unique(labels[[*chosen, *more]], return_counts=True)[1]
    assert len(counts) == min(classes, 40 // FEWEST) and counts.min() >= FEWEST
    assert set(labels[chosen]) <= set(labels[more])


def test_further_images_of_a_data_set_that_is_read(tf):
    looks = []
    dataset = tf.data.Dataset.from_tensor_slices(data(90)).batch(7)
    fit(eye(), data(8), CAMCallback(dataset, None, class_names=NAMES, on_look=looks.append, on_error="raise"))
    assert looks[0].watched.labels == [0, 0, 0, 1, 1, 1, 2, 2]
    assert sorted(np.bincount(looks[0].further[1])) == [10, 11, 11]

"""Probes of arrays: spread over the classes, the same for a seed, and no more read than is chosen."""

import keras
import numpy as np
import pytest
from support.probe_data import choose, indices, pictures

from keras_cam.errors import InvalidImageError


def test_arrays_are_spread_over_the_classes():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 2 + [7])
    probes = choose((pictures(58), labels), 8)
    assert np.unique(probes.labels, return_counts=True)[1].tolist() == [3, 2, 2, 1] or probes.labels.tolist() == [
        0, 0, 1, 1, 1, 2, 2, 7,
    ]  # fmt: skip
    assert probes.labels.tolist() == labels[indices(probes)].tolist() == sorted(probes.labels)
    assert len(set(indices(probes))) == 8


def test_more_classes_than_probes_gives_different_classes():
    labels = np.arange(100) % 20
    chosen = [choose((pictures(100), labels), 6, seed=seed).labels.tolist() for seed in range(3)]
    assert all(len(set(classes)) == 6 for classes in chosen)
    assert len({tuple(classes) for classes in chosen}) == 3


def test_the_seed_decides_and_global_state_is_left_alone():
    data = (pictures(100), np.arange(100) % 3)
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    first, second, other = (indices(choose(data, 8, seed=seed)) for seed in (5, 5, 6))
    assert first == second != other
    assert np.random.get_state()[1].tolist() == before


def test_images_alone_have_no_labels():
    for data in (pictures(9), (pictures(9),), keras.ops.convert_to_tensor(pictures(9)), (pictures(9), None)):
        probes = choose(data, 4)
        assert probes.labels is None and len(set(indices(probes))) == 4
        assert probes.images[0].shape == (4, 4, 3) and probes.images[0].dtype == np.float32


def test_fewer_images_than_probes_gives_all_of_them():
    assert indices(choose((pictures(3), [2, 1, 0]), 8)) == [2, 1, 0]


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
    assert len(choose((images, np.arange(1_000_000) % 10), 8).images) == 8
    assert images.reads == 8


def test_a_probe_with_nan_is_an_error():
    with pytest.raises(InvalidImageError, match="NaN"):
        choose(pictures(2) * np.nan, 2)

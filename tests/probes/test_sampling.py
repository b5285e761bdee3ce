"""How comparison images are drawn beside the probes, of few enough classes to be compared."""

import numpy as np
import pytest
from support.callback_models import NAMES, eye, fit, spots

from keras_cam import CAMCallback
from keras_cam.probes.sampling import FEWEST, draw_indices

pytestmark = pytest.mark.filterwarnings("ignore:.* is zero everywhere")  # black pictures with one colour


def data(count=60):
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    return spots(generator.integers(0, 12, (count, 2)).tolist(), labels), labels


@pytest.mark.parametrize("classes", [2, 10, 13, 100, 1000])
def test_comparison_images_are_of_few_enough_classes_to_agree_in_each(classes):
    labels = np.arange(4000) % classes
    chosen, more = draw_indices(labels, 4000, 8, np.random.default_rng(3), num_comparison=32)
    alone, none = draw_indices(labels, 4000, 8, np.random.default_rng(3))
    assert chosen.tolist() == alone.tolist() and len(none) == 0, "the probes are those that they were without"
    assert len(more) == 32 and not set(more) & set(chosen)
    counts = np.unique(labels[[*chosen, *more]], return_counts=True)[1]
    assert len(counts) == min(classes, 40 // FEWEST) and counts.min() >= FEWEST
    assert set(labels[chosen]) <= set(labels[more])


def test_comparison_images_of_a_data_set_that_is_read(tf):
    looks = []
    dataset = tf.data.Dataset.from_tensor_slices(data(90)).batch(7)
    fit(eye(), data(8), CAMCallback(dataset, None, class_names=NAMES, on_look=looks.append, on_error="raise"))
    assert looks[0].probes.labels == [0, 0, 0, 1, 1, 1, 2, 2]
    assert sorted(np.bincount(looks[0].comparison[1])) == [10, 11, 11]

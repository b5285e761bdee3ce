"""What is cached from call to call: the latest so many, by keys of anything, for as long as the model lives."""

import gc
import weakref

import numpy as np
import pytest
from support import small_models

from keras_cam import build_cam_model, compute_cam
from keras_cam.explainer.cache import CACHE_SIZE, get_or_make, hashable

PICTURES = small_models.images()


def test_the_least_recently_used_goes():
    cache, made = {}, []

    def make(key):
        made.append(key)
        return key

    for key in range(CACHE_SIZE):
        get_or_make(cache, key, lambda key=key: make(key))
    assert get_or_make(cache, 0, lambda: make("again")) == 0
    get_or_make(cache, "one more", lambda: make("one more"))
    assert made == [*range(CACHE_SIZE), "one more"]
    assert len(cache) == CACHE_SIZE and 0 in cache and 1 not in cache


def test_what_cannot_be_hashed_is_a_key_by_which_object_it_is():
    array, same = np.zeros(3), np.zeros(3)
    assert hashable(array) == hashable(array) and hashable(array) != hashable(same)
    assert len({hashable(array), hashable(array), hashable(same)}) == 2
    assert hashable((1, "a")) == (1, "a")


@pytest.mark.parametrize("name", ["functional", "Sequential", "nested", "equally named backbones"])
def test_what_is_kept_for_a_model_dies_with_it(name):
    model = small_models.model(name, fresh=True)
    compute_cam(model, PICTURES)
    build_cam_model(model)
    alive = [weakref.ref(model), weakref.ref(model.layers[-1])]
    del model
    gc.collect()  # the model; with it goes our entry for it, and
    gc.collect()  # with the next round what that held
    assert [reference() for reference in alive] == [None, None]

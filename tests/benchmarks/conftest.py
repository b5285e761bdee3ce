"""What the tests of the benchmarks share."""

import functools

import keras
import pytest


@pytest.fixture
def eager_training(monkeypatch):
    """Train eagerly: to compile a training takes longer than the few steps that these tests make."""
    monkeypatch.setattr(keras.Model, "compile", functools.partialmethod(keras.Model.compile, run_eagerly=True))

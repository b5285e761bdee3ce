"""What a method costs, in units of the model's own compiled forward pass on the same batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from benchmarks.forward import build, noise, plain_forward
from benchmarks.pairs import in_turns
from keras_cam.explainer.map_function import map_function_of
from keras_cam.methods import METHODS

SIDE = 224
CHANGED = 32  # changed images of the methods that change images: one full batch for each sample
SAMPLES = {"smooth_grad_cam_plus_plus": 2, "smooth_grad": 2, "integrated_gradients": 2, "ss_cam": 2, "is_cam": 2}
MASKING = ("score_cam", "ss_cam", "is_cam")  # one forward pass for each channel and sample
CONTROL = "forward pass"
SHORTEST, LONGEST = 3, 31  # rounds


@dataclass(frozen=True)
class Cost:
    """One method on one model and batch, measured in pairs with the forward pass.

    Attributes:
        model: name of the model in keras.applications.
        batch: how many images.
        method: a key of `METHODS`, or `CONTROL`.
        ratios: of each pair, the method's time over that of the forward pass before it.
        units: how many samples (images per image, for methods that mask) were run beside the one forward pass; 0 where
            the method was run as it stands.
        whole: how many there are of these by the method's defaults.
    """

    model: str
    batch: int
    method: str
    ratios: np.ndarray
    units: int = 0
    whole: int = 0

    @property
    def per_unit(self) -> np.ndarray:
        """Quartiles of what one sample or channel costs, where there are any; else those of the whole."""
        low, middle, high = np.percentile((self.ratios - 1) / self.units if self.units else self.ratios, [25, 50, 75])
        return np.array([low, middle, high])

    @property
    def in_all(self) -> float:
        """Median of the whole by the method's defaults: measured, or 1 and so many units."""
        return float(1 + self.per_unit[1] * self.whole if self.units else self.per_unit[1])


def measure_costs(
    name: str, batches: Sequence[int], methods: Sequence[str], seconds: float, side: int = SIDE
) -> Iterator[Cost]:
    """Measure methods on a model of keras.applications with random weights.

    Args:
        name: the model.
        batches: how many images at once, numbers that divide 32.
        methods: keys of `METHODS`.
        seconds: how long to measure each of them on each batch, about; at least 3 rounds.
        side: of the images, in pixels.
    """
    model = build(name, side)
    plain = plain_forward(model)
    for method in (CONTROL, *methods):
        for batch in batches:
            images = noise(batch, side)
            top = np.full((batch, 1), -1, np.int32)
            forward = partial(plain, images)
            work, units, whole = forward, 0, 0
            if method != CONTROL:
                options, units, whole = scaled_down(method, batch, model)
                work = partial(map_function_of(model, METHODS[method], options), [images], top)
            pairs = in_turns(forward, work, seconds, SHORTEST, LONGEST)
            yield Cost(name, batch, method, pairs.ratios, units, whole)


def scaled_down(method: str, batch: int, model: keras.Model) -> tuple[dict[str, int], int, int]:
    """Options that make a long method short, how many units it then takes, and how many by its defaults."""
    options, units, whole = {}, 0, 0
    if method in SAMPLES:
        options["samples"] = units = SAMPLES[method]
        whole = 10 if method in MASKING else 25
    if method in MASKING:
        options["max_channels"] = channels = CHANGED // batch
        units, whole = max(units, 1) * channels, max(whole, 1) * model.layers[-2].output.shape[-1]
    return options, units, whole

"""Colours of heat: OpenCV's own, in RGB order."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from keras_cam.imaging.colormaps import COLORMAPS, SIGNED_COLORMAPS, colorize


def test_colours_are_opencvs_in_rgb_order():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    levels = np.arange(256, dtype=np.uint8)[np.newaxis]
    for name, code in COLORMAPS.items():
        assert_array_equal(colorize(ramp, name), cv2.applyColorMap(levels, code)[..., ::-1])
    assert {"viridis", "plasma", "inferno", "turbo", "jet"} <= set(COLORMAPS)
    assert_array_equal(colorize([[1.0]], "jet"), [[[128, 0, 0]]])  # dark red, not dark blue


def test_heat_of_any_real_dtype():
    assert_array_equal(colorize(np.array([[True, False]]), "bone"), [[[255] * 3, [0] * 3]])
    assert_array_equal(colorize(np.array([[0.5]], np.float16), "bone"), colorize([[0.5]], "bone"))


@pytest.mark.parametrize("name", SIGNED_COLORMAPS)
def test_zero_is_neutral_and_the_signs_are_two_hues_of_like_strength(name):
    against, zero, speaks = colorize([[-1.0, 0.0, 1.0]], name, signed=True)[0].astype(int)
    assert np.ptp(zero) == 0 and zero[0] > 230
    assert np.abs(against - speaks).max() > 100
    luma = [color @ (0.299, 0.587, 0.114) for color in (against, speaks)]
    assert abs(luma[0] - luma[1]) < 40 and max(luma) < 100

"""The bar beside a map: which colour is which number."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from keras_cam.drawing.colorbar import color_bar
from keras_cam.imaging.colormaps import colorize


def test_the_colour_bar_runs_from_its_upper_to_its_lower_limit():
    """Report 12 of docs/reports.md: what the colours mean is written beside them, and they are RGB."""
    bar = color_bar(101, (0.0, 2.5), colormap="jet")
    assert_array_equal(bar[0, 0], [128, 0, 0])  # dark red is hot
    assert_array_equal(bar[-1, 0], [0, 0, 128])
    signed = color_bar(101, (-2.5, 2.5), signed=True)
    assert_array_equal(signed[[0, 50, 100], 0], colorize([[1.0], [0.0], [-1.0]], signed=True)[:, 0])
    dark = np.flatnonzero((bar[:, 12:] < 128).any(axis=(1, 2)))
    assert dark[0] <= 1 and dark[-1] >= 99 and ((dark > 40) & (dark < 60)).any()  # three numbers
    assert (color_bar(101, (0.0, 2.6)) != color_bar(101, (0.0, 2.5))).any()


@pytest.mark.parametrize("height", [1, 2, 9, 30])
@pytest.mark.parametrize("limits", [(0.0, 0.0), (-1e-30, 1e30), (0.0, 1e-45), (-3.4e38, 3.4e38)])
def test_colour_bars_of_any_height_and_numbers(height, limits):
    assert color_bar(height, limits, text_size=11).shape[0] == height

"""Pictures, signals and volumes: each drawn in its own manner, without the options that it does not have."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from keras_cam.drawing.modalities import IMAGE, SIGNAL, VOLUME, modality_of
from keras_cam.drawing.panel import panel
from keras_cam.drawing.signal import draw_signal
from keras_cam.drawing.volume import montage

SHAPES = {"picture": (8, 9, 3), "signal": (30, 2), "volume": (3, 8, 9, 1)}
MODALITIES = {"picture": IMAGE, "signal": SIGNAL, "volume": VOLUME}


@pytest.mark.parametrize("kind", SHAPES)
def test_the_number_of_axes_says_how_to_draw(kind):
    assert modality_of([np.zeros(SHAPES[kind])]) is MODALITIES[kind]


def test_without_images_and_with_strange_ones_it_is_pictures():
    assert modality_of([]) is modality_of([np.zeros(3)]) is IMAGE


@pytest.mark.parametrize(
    ("kind", "draw", "known"),
    [
        ("picture", panel, {"alpha": 0.3, "boxes": [(1, 1, 5, 5)], "truth": (2, 2, 6, 6)}),
        ("signal", draw_signal, {}),
        ("volume", montage, {"alpha": 0.3}),
    ],
)
def test_options_that_a_modality_lacks_are_left_out(kind, draw, known):
    image, heat = np.zeros(SHAPES[kind], np.uint8), np.ones(SHAPES[kind][:-1])
    marks = {"alpha": 0.3, "boxes": [(1, 1, 5, 5)], "truth": (2, 2, 6, 6)}
    drawn = MODALITIES[kind].draw(image, heat, (0.0, 1.0), ["fox"], signed=True, width=150, **marks)
    assert_array_equal(drawn, draw(image, heat, (0.0, 1.0), ["fox"], signed=True, width=150, **known))
    assert MODALITIES[kind].draw(image, heat, (0.0, 1.0), []).shape[1] >= MODALITIES[kind].width


def test_an_option_that_no_modality_has():
    with pytest.raises(TypeError, match="zoom"):
        IMAGE.draw(np.zeros((8, 9, 3), np.uint8), np.ones((8, 9)), (0.0, 1.0), [], zoom=2)

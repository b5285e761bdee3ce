"""How much of the energy of a map lies in a box, by hand."""

import numpy as np

from keras_cam.demo.box_energy import energy_in_boxes


def test_energy_in_boxes_by_hand():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 1, 1] = 3.0, 1.0, -5.0  # what is negative does not count
    maps[1] = 1.0
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1], [0, 0, 4, 4]])  # the last map has no positive part
    np.testing.assert_allclose(energy_in_boxes(maps, boxes, margin=0), [0.75, 2 / 16, 0])
    np.testing.assert_allclose(energy_in_boxes(maps[:2], boxes[:2], margin=1), [0.75, 6 / 16])
    np.testing.assert_array_equal(energy_in_boxes(maps, np.zeros((3, 4))), 0)

"""Numbers of where a map looks, against values worked out by hand."""

import numpy as np
import pytest

from keras_cam.imaging.statistics import border_share, concentration, heat_shares, moved_share


def one_hot_map(row, column, size=10):
    heat = np.zeros((size, size))
    heat[row, column] = 3.0
    return heat_shares(heat)


def test_shares_sum_to_one_and_a_map_without_evidence_has_none():
    shares = heat_shares(np.array([[[-1.0, 2.0], [2.0, 4.0]], [[-1.0, 0.0], [-2.0, 0.0]]]))
    assert shares[0].tolist() == [[0, 0.25], [0.25, 0.5]]
    assert np.isnan(shares[1]).all()
    for number in (concentration(shares), border_share(shares), moved_share(shares, shares)):
        assert number.shape == (2,) and np.isfinite(number[0]) and np.isnan(number[1])


@pytest.mark.parametrize(
    ("heat", "expected"),
    [
        (np.ones((3, 5)), 0.0),  # half of the heat needs half of the area
        (np.eye(10)[:1], 0.9),  # one cell of ten: half of it is enough
        (np.array([[3.0, 1.0]]), 1 - 2 * (0.5 / 0.75) / 2),  # two thirds of the first of two cells
        (np.array([[2.0, 2.0, 1.0, 1.0]]), 1 - 2 * 1.5 / 4),  # a third, a third, a sixth: one and a half cells
    ],
)
def test_concentration(heat, expected):
    assert concentration(heat_shares(heat)) == pytest.approx(expected)


def test_border_share_counts_cells_across_the_line_by_area():
    assert border_share(one_hot_map(0, 5)) == pytest.approx(1)
    assert border_share(one_hot_map(1, 5)) == pytest.approx(0)
    assert border_share(one_hot_map(0, 2, size=5)) == pytest.approx(0.5)  # a cell of a fifth, half of it outside
    assert border_share(one_hot_map(0, 0, size=5)) == pytest.approx(0.75)
    assert border_share(heat_shares(np.ones((4, 13)))) == pytest.approx(0.36)


def test_moved_share():
    assert moved_share(one_hot_map(1, 1), one_hot_map(1, 1)) == 0
    assert moved_share(one_hot_map(1, 1), one_hot_map(7, 2)) == 1
    half = (one_hot_map(1, 1) + one_hot_map(7, 2)) / 2
    assert moved_share(one_hot_map(1, 1), half) == 0.5

"""Where a map looks, in numbers: how concentrated its heat is, how near the border, how far it moved.

The heat of a map is its positive part, scaled so that it sums to one: the share of the evidence that lies in each cell.
"""

from __future__ import annotations

import numpy as np

BORDER = 0.1  # width of the border, as a share of the picture's height and width
CORNER = 0.25  # length of a corner's sides, as a share of the picture's height and width


def heat_shares(maps: np.ndarray) -> np.ndarray:
    """Scale the positive part of each map to a sum of one.

    Args:
        maps: (..., h, w), signed and finite.

    Returns:
        float64 (..., h, w); NaN everywhere in a map that has no positive value, for it looks nowhere.

    >>> heat_shares(np.array([[-5.0, 1.0], [3.0, 0.0]])).tolist()
    [[0.0, 0.25], [0.75, 0.0]]
    """
    # In float64, for a map of many cells has shares that float32 would round.
    heat = np.maximum(maps, 0).astype(np.float64)
    total = heat.sum(axis=(-2, -1), keepdims=True)
    return np.divide(heat, total, out=np.full_like(heat, np.nan), where=total > 0)


def concentration(shares: np.ndarray) -> np.ndarray:
    """Say how small the area is that holds half of the heat: 1 - 2 x (that area / the picture's area).

    Args:
        shares: (..., h, w) from `heat_shares`.

    Returns:
        (...): 0 where the heat is spread evenly, near 1 where it sits in one spot.

    >>> concentration(heat_shares(np.eye(2))).item()  # half of the heat in a quarter of the picture
    0.5
    """
    # The hottest cells first, until half of the heat is reached; the last of them counts in part.
    cells = -np.sort(-shares.reshape(*shares.shape[:-2], -1), axis=-1)
    before = np.cumsum(cells, axis=-1) - cells
    needed = np.divide(np.clip(0.5 - before, 0, cells), cells, out=np.zeros_like(cells), where=cells > 0)
    area = needed.mean(axis=-1)
    return np.where(np.isnan(cells[..., 0]), np.nan, 1 - 2 * area)


def border_share(shares: np.ndarray) -> np.ndarray:
    """Say which share of the heat lies within a tenth of the picture's sides.

    A cell across the line counts on both sides, by area.

    Args:
        shares: (..., h, w) from `heat_shares`.

    Returns:
        (...): 0 to 1; 0.36 where the heat is spread evenly.

    >>> round(border_share(heat_shares(np.ones((7, 7)))).item(), 6)
    0.36
    """
    inside = [_inside(cells, BORDER) for cells in shares.shape[-2:]]
    return 1 - np.einsum("...ij,i,j->...", shares, *inside)


def corner_share(shares: np.ndarray) -> np.ndarray:
    """Say which share of the heat lies in the four corners, each a quarter of the picture's height and width.

    Args:
        shares: (..., h, w) from `heat_shares`.

    Returns:
        (...): 0 to 1; 0.25 where the heat is spread evenly.

    >>> corner_share(heat_shares(np.ones((8, 8)))).item()
    0.25
    """
    outside = [1 - _inside(cells, CORNER) for cells in shares.shape[-2:]]
    return np.einsum("...ij,i,j->...", shares, *outside)


def agreement(shares: np.ndarray) -> float:
    """Say how far maps lie in the same place: the heat that two of them share, in the mean over all pairs.

    Args:
        shares: (M, h, w) from `heat_shares`, of different pictures.

    Returns:
        0 where no two maps share a cell, 1 where all are alike; NaN for fewer than two maps with any heat.

    >>> agreement(heat_shares(np.array([[[1.0, 1.0]], [[1.0, 0.0]]])))
    0.5
    """
    # Each pair once; maps without heat have no place to agree on.
    known = shares[~np.isnan(shares).any(axis=(-2, -1))].reshape(-1, shares[0].size)
    common = [np.minimum(first, second).sum() for index, first in enumerate(known) for second in known[:index]]
    return float(np.mean(common)) if common else float("nan")


def moved_share(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Say which share of the heat lies elsewhere than before: half the sum of the absolute differences.

    Args:
        before: (..., h, w) from `heat_shares`.
        now: the same later, of the same shape.

    Returns:
        (...): 0 where nothing moved, 1 where no heat is left in its place.

    >>> moved_share(heat_shares(np.array([[1.0, 0.0]])), heat_shares(np.array([[3.0, 1.0]]))).item()
    0.25
    """
    return np.abs(now - before).sum(axis=(-2, -1)) / 2


def _inside(cells: int, border: float) -> np.ndarray:
    """The share of each of `cells` equal cells that lies inside a border, along one side of the picture."""
    # What of a cell lies in the border has both of its edges at the same place, once they are clipped.
    edges = np.linspace(0, 1, cells + 1).clip(border, 1 - border)
    return np.diff(edges) * cells

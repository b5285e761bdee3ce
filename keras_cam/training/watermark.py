"""When it is alarming where maps look: the same small place near the border, whatever the picture."""

from __future__ import annotations

import numpy as np

from keras_cam.imaging import statistics
from keras_cam.probes.sampling import FEWEST
from keras_cam.training.look import Look

# A watermark: maps of one class that lie in one place, small, near the border. Objects are in the middle, or anywhere.
# Networks that had learned a tag gave 0.85 to 0.96, 0.87 and 0.41 up; honest ones hardly ever the first.
ALIKE, SMALL, OUTSIDE = 0.75, 0.6, 0.4


def watermark(look: Look) -> str | None:
    """Warn where the maps of a class lie in one small place near the border, whatever the picture.

    Maps are grouped by the class that they are maps of, whatever the pictures show in truth; last come all together.

    Args:
        look: the look.

    Returns:
        The warning, or None.
    """
    # The maps of each class, and last all of them.
    groups = {f"of {look.result.class_name(index)!r}": shares for index, shares in look.shares_by_class.items()}
    groups["of all classes"] = np.concatenate(list(groups.values()))
    for whose, group in groups.items():
        # Of those that have any heat: how alike they are, how small, how far outside.
        shares = group[~np.isnan(group).any(axis=(1, 2))]
        if len(shares) < FEWEST:
            continue
        alike, small = statistics.agreement(shares), float(statistics.concentration(shares).mean())
        outside = float(np.maximum(statistics.border_share(shares), statistics.corner_share(shares)).mean())
        if alike >= ALIKE and small >= SMALL and outside >= OUTSIDE:
            return (
                f"The maps {whose} lie in the same place in {len(shares)} pictures, {_hottest_place(shares)}: they "
                f"share {alike:.0%} of their heat, {outside:.0%} of which is near the border. Whatever the picture "
                "shows, the network may be looking at a mark, a tag or a frame there."
            )
    return None


def _hottest_place(shares: np.ndarray) -> str:
    """Where in the pictures maps are hottest in the mean, in words."""
    # By thirds of the height and of the width.
    size = shares.shape[1:]
    row, column = np.unravel_index(int(shares.mean(axis=0).argmax()), size)
    down, right = (row + 0.5) / size[0], (column + 0.5) / size[1]
    names = [
        low if share < 1 / 3 else high if share > 2 / 3 else ""
        for share, low, high in ((down, "top", "bottom"), (right, "left", "right"))
    ]
    return " ".join(name for name in names if name) or "the middle"

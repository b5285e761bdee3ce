"""When it is alarming where maps look: the same small place near the border, whatever the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_cam.imaging import statistics as attention
from keras_cam.probes.sampling import FEWEST
from keras_cam.training.look import Look

# A watermark: maps of one class that lie in one place, small, near the border. Objects are in the middle, or anywhere.
# Networks that had learned a tag gave 0.85 to 0.96, 0.87 and 0.41 up; honest ones hardly ever the first.
ALIKE, SMALL, OUTSIDE = 0.75, 0.6, 0.4


def watermark(look: Look) -> str | None:
    """Say in words that the maps of a class lie in one small place near the border, whatever the picture.

    Maps are grouped by the class that they are maps of, whatever the pictures show in truth; last come all together.

    Args:
        look: the look.

    Returns:
        The warning, or None.
    """
    groups = {f"of {look.result.class_name(index)!r}": each for index, each in look.by_mapped_class.items()}
    groups["of all classes"] = np.concatenate(list(groups.values()))
    for whose, every in groups.items():
        shares = every[~np.isnan(every).any(axis=(1, 2))]
        if len(shares) < FEWEST:
            continue
        alike, small = attention.agreement(shares), float(attention.concentration(shares).mean())
        outside = float(np.maximum(attention.border_share(shares), attention.corner_share(shares)).mean())
        if alike >= ALIKE and small >= SMALL and outside >= OUTSIDE:
            row, column = np.unravel_index(int(shares.mean(axis=0).argmax()), shares.shape[1:])
            place = _place((row + 0.5) / shares.shape[1], (column + 0.5) / shares.shape[2])
            return (
                f"The maps {whose} lie in the same place in {len(shares)} pictures, {place}: they share {alike:.0%} "
                f"of their heat, {outside:.0%} of which is near the border. Whatever the picture shows, the network "
                "may be looking at a mark, a tag or a frame there."
            )
    return None


def _place(down: float, right: float) -> str:
    """Where in a picture, in words."""
    names: Sequence[str] = [
        low if share < 1 / 3 else high if share > 2 / 3 else ""
        for share, low, high in ((down, "top", "bottom"), (right, "left", "right"))
    ]
    return " ".join(name for name in names if name) or "the middle"

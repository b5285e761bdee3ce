"""How each kind of thing that has maps is drawn: one table for signals, pictures and volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_cam.drawing.figure import figure
from keras_cam.drawing.panel import panel
from keras_cam.drawing.signal import draw_signal, signal_figure
from keras_cam.drawing.volume import montage, volume_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


EXTRAS = frozenset({"alpha", "boxes", "truth"})  # options that not every kind has


class Modality(NamedTuple):
    """How one kind of thing is drawn under its map.

    Attributes:
        panel: draws one: (thing, heat map, limits, lines, width=, colormap=, signed=, text_size=) to an array.
        figure: draws many: (things, heat maps, titles, limits=, colormap=, signed=, text_size=) to a figure.
        width: of a panel, in pixels.
        notebook_width: of a panel in a notebook, in pixels.
        text_share: how many times wider a panel is than its letters are high.
        extras: what `panel` takes besides.
    """

    panel: Callable[..., np.ndarray]
    figure: Callable[..., Figure]
    width: int
    notebook_width: int
    text_share: int
    extras: frozenset[str]

    def draw(self, thing: np.ndarray, heatmap: np.ndarray, *words: Any, **options: Any) -> np.ndarray:
        """Draw one, leaving out the options that this kind does not have."""
        missing = EXTRAS - self.extras
        kept = {name: value for name, value in options.items() if name not in missing}
        return self.panel(thing, heatmap, *words, **{"width": self.width, **kept})


PICTURES = Modality(panel, figure, 240, 200, 18, EXTRAS)
MODALITIES = {  # by the number of axes of what is drawn on, channels included
    2: Modality(draw_signal, signal_figure, 480, 400, 36, frozenset()),
    3: PICTURES,
    4: Modality(montage, volume_figure, 480, 400, 36, frozenset({"alpha"})),
}


def modality_of(images: Sequence[np.ndarray]) -> Modality:
    """Say how to draw on images: on signals (T, K), pictures (H, W, 3) or volumes (D, H, W, K)."""
    return MODALITIES.get(images[0].ndim, PICTURES) if images else PICTURES

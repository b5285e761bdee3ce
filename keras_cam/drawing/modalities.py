"""How each kind of images that has maps is drawn: one table for pictures, signals and volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_cam.drawing.figure import figure
from keras_cam.drawing.panel import TEXT_SHARE, panel
from keras_cam.drawing.signal import SIGNAL_TEXT_SHARE, draw_signal, signal_figure
from keras_cam.drawing.text import Title
from keras_cam.drawing.volume import VOLUME_TEXT_SHARE, montage, volume_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


EXTRAS = frozenset({"alpha", "boxes", "truth"})  # options that not every modality has


class Modality(NamedTuple):
    """How one kind of images is drawn under their maps: pictures, signals or volumes.

    Attributes:
        panel: draws one: (image, heat map, limits, lines, width=, colormap=, signed=, text_size=) to an array.
        figure: draws many: (images, heat maps, titles, limits=, colormap=, signed=, text_size=) to a figure.
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

    def draw(
        self,
        image: np.ndarray,
        heatmap: np.ndarray,
        limits: tuple[float, float],
        lines: Sequence[str | Title],
        **options: Any,
    ) -> np.ndarray:
        """Draw one, leaving out the options that this modality does not have."""
        # What a caller asks of all modalities alike, some do not have.
        missing = EXTRAS - self.extras
        known = {name: value for name, value in options.items() if name not in missing}
        return self.panel(image, heatmap, limits, lines, **{"width": self.width, **known})


IMAGE = Modality(panel, figure, 240, 200, TEXT_SHARE, EXTRAS)
SIGNAL = Modality(draw_signal, signal_figure, 480, 400, SIGNAL_TEXT_SHARE, frozenset())
VOLUME = Modality(montage, volume_figure, 480, 400, VOLUME_TEXT_SHARE, frozenset({"alpha"}))
MODALITIES = {2: SIGNAL, 3: IMAGE, 4: VOLUME}  # by the number of axes of what is drawn on, channels included


def modality_of(images: Sequence[np.ndarray]) -> Modality:
    """Say how to draw on images: on signals (T, K), pictures (H, W, 3) or volumes (D, H, W, K)."""
    return MODALITIES.get(images[0].ndim, IMAGE) if images else IMAGE

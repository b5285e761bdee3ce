"""What locating and drawing need of a result: `Explanation` has it, and so may whatever else holds maps."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from keras_cam.model.grid import Grid


class Result(Protocol):
    """Maps of C classes of N images, with what they are drawn on; each is described at `Explanation`."""

    @property
    def maps(self) -> np.ndarray:
        """(N, C, *cells)."""

    @property
    def class_indices(self) -> np.ndarray:
        """(N, C)."""

    @property
    def probabilities(self) -> np.ndarray:
        """(N, n)."""

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """What to draw on, N or none."""

    @property
    def fit(self) -> str:
        """How the images were brought to the model's size."""

    @property
    def diagnosis(self) -> tuple[Any, ...]:
        """Findings."""

    def grid_at(self, image: int) -> Grid | None:
        """Where the cells of one image's maps lie."""

    def heatmaps(self, *args: Any, **options: Any) -> list[np.ndarray]:
        """The maps over their images."""

    def title(self, image: int, slot: int = 0) -> str:
        """Class and probability of one map."""

    def first(self, count: int) -> Result:
        """The result for the first few images."""

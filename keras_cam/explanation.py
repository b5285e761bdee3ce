"""The result: maps, scores and pictures of a batch, frozen."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.fitting import placement, seen
from keras_cam.geometry import Axis, Grid, even_grid
from keras_cam.heatmap import normalize as scaled
from keras_cam.heatmap import place
from keras_cam.render import DEFAULT_COLORMAP, figure, overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACTS = ("method", "layer", "head", "activation", "class_names", "fit")
ALIGNMENTS = ("receptive_field", "stretch")
ARRAYS = ("maps", "class_indices", "logits", "probabilities", "bias")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a model looked: maps of C classes of N images, and all that is needed to check and draw them.

    Attributes:
        maps: (N, C, h, w) float32, signed, in logit units, on the native grid of the feature maps; (N, C, t) for
            signals, (N, C, d, h, w) for volumes.
        class_indices: (N, C) int, the class of each map.
        logits: (N, n) float32, the scores of all n classes before the last activation.
        probabilities: (N, n) float32, the model's output; for one sigmoid unit the two classes 1 - p and p. Where the
            model gives logits and is compiled with `from_logits=True`, what its loss makes of them.
        bias: (N, C) float32, the part of each score that has no place: mean(map) + bias = logit.
        images: N uint8 RGB pictures (H, W, 3) to draw on, each at its own size; none for signals and volumes.
        method: how the maps were made: "cam" (Zhou's sum, for an affine head), "frozen" (gradient times features, the
            head's gates and divisors frozen: exact for the image at hand) or "gradient_x_activation" (see
            `completeness` for how much of the score it accounts for).
        fit: how the pictures were brought to the model's size: "stretch", "crop" or "pad".
        grid: where the cells of the maps lie in the image that the model was fed; None where that was not looked for.
        layer: path of the layer whose output the maps weigh.
        head: what the model's head is, in words.
        activation: what made the probabilities of the logits: "softmax", "sigmoid", ...; "linear": they are values.
        class_names: names of the n classes, or None.
    """

    maps: np.ndarray
    class_indices: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    bias: np.ndarray
    images: tuple[np.ndarray, ...]
    method: str
    layer: str
    head: str = ""
    activation: str = "softmax"
    class_names: tuple[str, ...] | None = None
    grid: Grid | None = None
    fit: str = "stretch"

    def __len__(self) -> int:
        """Number of images."""
        return len(self.maps)

    def __repr__(self) -> str:
        images, classes, *grid = self.maps.shape
        return (
            f"<Explanation of {images} image(s), {classes} class(es) each: {'x'.join(map(str, grid))} maps "
            f"by {self.method!r} at {self.layer!r}, completeness {self.completeness.min():.6f}>"
        )

    @property
    def completeness(self) -> np.ndarray:
        """How much of each score the map and the bias account for, (N, C) float64; 1 is all of it.

        One minus the distance between mean(map) + bias and the logit, as a share of the image's largest logit.
        """
        scores = np.take_along_axis(self.logits.astype("float64"), self.class_indices, axis=1)
        sums = self.maps.mean(axis=tuple(range(2, self.maps.ndim)), dtype="float64") + self.bias
        largest = np.abs(self.logits).max(axis=1, keepdims=True)
        return 1 - np.abs(sums - scores) / np.maximum(largest, np.finfo("float32").tiny)

    def class_name(self, index: int) -> str:
        """Name of a class.

        Args:
            index: the class.

        Returns:
            Its name from `class_names`, else "class 3".
        """
        return f"class {index}" if self.class_names is None else self.class_names[index]

    def heatmaps(
        self,
        normalize: str | tuple[float, float] | None = "image",
        *,
        align: str = "receptive_field",
        interpolation: str = "bilinear",
    ) -> list[np.ndarray]:
        """The maps over their pictures.

        Args:
            normalize: "image" (default): the positive part over its maximum, so in [0, 1], for each map; "minmax";
                "batch": one maximum for all; a range (low, high); None: logit units, signed.
            align: "receptive_field" (default): each cell over the pixels that it sees; "stretch": the map stretched
                over the picture, as most libraries do.
            interpolation: "bilinear" (default), "bicubic", or "nearest" to see the cells.

        Returns:
            One float32 (C, H, W) per image, at the picture's own size.
        """
        if not self.images:
            raise InvalidDataError(
                f"The model looks at {'signals' if self.maps.ndim == 3 else 'volumes'}, not at pictures, so that its "
                f"maps {self.maps.shape} have no picture to lie on. Use result.maps."
            )
        if align not in ALIGNMENTS:
            raise InvalidOptionError(f"align must be one of {', '.join(map(repr, ALIGNMENTS))}. Received: {align!r}.")
        placed = [
            self._placed(maps, image.shape[:2], align, interpolation)
            for maps, image in zip(self.maps, self.images, strict=True)
        ]
        if normalize == "batch":  # one maximum over pictures of several sizes
            highest = max(float(maps.max()) for maps in placed)
            return [scaled(maps, (0.0, highest)) if highest > 0 else np.zeros_like(maps) for maps in placed]
        return [scaled(maps, normalize) for maps in placed]

    def _placed(self, maps: np.ndarray, size: tuple[int, int], align: str, interpolation: str) -> np.ndarray:
        """Maps (C, h, w) over a picture of a size: through the grid, and back through what brought it to the model."""
        if self.grid is None:
            return place(maps, size, interpolation=interpolation)
        image = (self.grid.image[0], self.grid.image[1])
        grid = self.grid if align == "receptive_field" else even_grid(self.grid.shape, image)
        cells = grid.cells_in(placement(size, image, self.fit))
        placed = place(maps, size, cells=cells, interpolation=interpolation)
        if self.fit != "crop":
            return placed
        rows, columns = seen(size, image, self.fit)
        framed = np.zeros_like(placed)  # what was cut off was not seen, and can be no evidence
        framed[..., rows, columns] = placed[..., rows, columns]
        return framed

    def overlays(self, *, colormap: str = DEFAULT_COLORMAP, alpha: float = 0.6) -> list[list[np.ndarray]]:
        """The pictures with their maps drawn over.

        Args:
            colormap: a colour map that `keras_cam.overlay` knows.
            alpha: opacity where the map is hottest, in [0, 1].

        Returns:
            For each image a list of C uint8 RGB (H, W, 3) pictures.
        """
        return [
            [overlay(image, heat, colormap=colormap, alpha=alpha) for heat in heats]
            for image, heats in zip(self.images, self.heatmaps(), strict=True)
        ]

    def plot(self, *, colormap: str = DEFAULT_COLORMAP) -> Figure:
        """Draw every map: picture, heat map with a colour bar in logit units, overlay; class and probability above.

        Args:
            colormap: a colour map that `keras_cam.overlay` knows.

        Returns:
            A `matplotlib.figure.Figure`; in a notebook it shows itself, elsewhere call `.savefig(path)`.
        """
        rows = [(image, slot) for image in range(len(self)) for slot in range(self.maps.shape[1])]
        return figure(
            [self.images[image] for image, _ in rows],
            [self.maps[row] for row in rows],
            [self.title(image, slot) for image, slot in rows],
            colormap=colormap,
        )

    def title(self, image: int, slot: int = 0) -> str:
        """Class and probability of one map.

        Args:
            image: which image.
            slot: which of its classes.

        Returns:
            A line such as "horse 97.2%"; for outputs that are no probabilities "class 0: 3.14".
        """
        index = int(self.class_indices[image, slot])
        value = self.probabilities[image, index]
        return f"{self.class_name(index)}" + (f": {value:.4g}" if self.activation == "linear" else f" {value:.1%}")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything, pictures included, to one compressed `.npz` file (no pickles inside).

        Args:
            path: where to; ".npz" is added where it is missing.

        Returns:
            The path written to.
        """
        target = Path(path)
        target = target if target.suffix == ".npz" else target.with_name(target.name + ".npz")
        facts = {name: getattr(self, name) for name in FACTS}
        facts["grid"] = None if self.grid is None else asdict(self.grid)
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays |= {f"image_{index}": image for index, image in enumerate(self.images)}
        np.savez_compressed(target, facts=np.array(json.dumps({**facts, "images": len(self.images)})), **arrays)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Explanation:
        """Read what `save` wrote.

        Args:
            path: the `.npz` file.

        Returns:
            The explanation.

        Raises:
            InvalidDataError: the file is not one of ours.
        """
        target = Path(path)
        if not target.exists() and target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        try:
            with open(target, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                facts: dict[str, Any] = json.loads(file["facts"].item())
                arrays = {name: file[name] for name in ARRAYS}
                images = tuple(file[f"image_{index}"] for index in range(facts.pop("images")))
        except (KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise InvalidDataError(
                f"{os.fspath(path)!r} is not a saved Explanation: {error}. Write one with result.save(path)."
            ) from error
        names, grid = facts.pop("class_names"), facts.pop("grid")
        if grid is not None:
            axes = tuple(Axis(**axis) for axis in grid.pop("axes"))
            grid = Grid(axes, tuple(grid.pop("image")), **grid)
        return cls(**arrays, images=images, class_names=None if names is None else tuple(names), grid=grid, **facts)

"""The result: maps, scores and pictures of a batch, frozen."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_cam.classes import ClassNames
from keras_cam.model.grid import Grid
from keras_cam.results.heatmaps import (
    check_drawable,
    frame_visible,
    lay_over_images,
    scale_together,
    visible_slices,
)
from keras_cam.results.localization import Localization
from keras_cam.results.plots import Plots
from keras_cam.results.saving import read, write

# What an archive holds: names of attributes, which must not change while old files are to be read.
FACTS = ("method", "layer", "head", "activation", "class_names", "fit", "diagnosis")
ARRAYS = ("maps", "class_indices", "logits", "probabilities", "bias")


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        name: a word to look for, such as "zero_map".
        words: what was found and what to do.
        images: which images it is about.
    """

    name: str
    words: str
    images: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Explanation(Localization, Plots):
    """Where a model looked: maps of C classes of N images, and all that is needed to check and draw them.

    Attributes:
        maps: (N, C, h, w) float32, signed, on the native grid of the feature maps, in logit units where they add up to
            the score, else in units of the method; (N, C, t) for signals, (N, C, d, h, w) for volumes.
        class_indices: (N, C) int, the class of each map.
        logits: (N, n) float32, the scores of all n classes before the last activation, or what `target` made of them.
        probabilities: (N, n) float32, the model's output; for one sigmoid unit the two classes 1 - p and p. Where the
            model gives logits and is compiled with `from_logits=True`, what its loss makes of them.
        bias: (N, C) float32, the part of each score that has no place: mean(map) + bias = logit; NaN for methods that
            do not take the score apart.
        images: what to draw on: N uint8 RGB pictures (H, W, 3), each at its own size (of pictures of many bands their
            mean, in gray); for signals float32 (T, K) and for volumes float32 (D, H, W, K), channels last, as they
            were given, before `preprocess` (volumes clipped to `value_range` where there is one); none for words.
        method: how the maps were made: "cam" (Zhou's sum, for an affine head), "frozen" (gradient times features, the
            head's gates and divisors frozen: exact for the image at hand), "integrated" (gradients
            integrated from no features to the image's, where the head is neither), or the method that was asked for.
        fit: how the pictures were brought to the model's size: "stretch", "crop" or "pad".
        grid: where the cells of the maps lie in the image that the model was fed; None where that was not looked for,
            and where the images differ in it.
        grids: where each image's cells lie, for images of several sizes; empty where `grid` holds for all.
        layer: path of the layer whose output the maps weigh.
        head: what the model's head is, in words.
        activation: what made the probabilities of the logits: "softmax", "sigmoid", ...; "linear": they are values.
        class_names: names of the n classes, or None.
        diagnosis: what makes the result of little use, in words; empty where all is well.
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
    grids: tuple[Grid, ...] = ()
    fit: str = "stretch"
    diagnosis: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.maps)

    def __repr__(self) -> str:
        images, classes, *grid = self.maps.shape
        completeness = "" if np.isnan(self.bias).any() else f", completeness {self.completeness.min():.6f}"
        return (
            f"<Explanation of {images} image(s), {classes} class(es) each: {'x'.join(map(str, grid))} maps "
            f"by {self.method!r} at {self.layer!r}{completeness}>"
        )

    @property
    def completeness(self) -> np.ndarray:
        """How much of each score the map and the bias account for, (N, C) float64; 1 is all of it.

        One minus the distance between mean(map) + bias and the logit, as a share of the image's largest logit. NaN for
        methods that do not take the score apart.
        """
        # The scores of the classes that are mapped, and the sums that stand for them.
        scores = self.logits[np.arange(len(self))[:, np.newaxis], self.class_indices]
        sums = self.maps.reshape(*self.maps.shape[:2], -1).mean(axis=-1, dtype="float64") + self.bias
        # By the largest logit of all classes: a score near zero is no reason for a large share.
        largest = np.abs(self.logits).max(axis=1, keepdims=True)
        return 1 - np.abs(sums - scores) / np.maximum(largest, np.finfo("float32").tiny)

    def class_name(self, index: int) -> str:
        """Name of a class.

        Args:
            index: the class.

        Returns:
            Its name from `class_names`, else "class 3".
        """
        return ClassNames(self.class_names, self.logits.shape[1]).name_of(index)

    def heatmaps(
        self,
        normalize: str | tuple[float, float] | None = "image",
        *,
        signed: bool = False,
        align: str = "receptive_field",
        interpolation: str = "bilinear",
    ) -> list[np.ndarray]:
        """The maps over their pictures.

        Args:
            normalize: "image" (default): the positive part over its maximum, so in [0, 1], for each map; "minmax";
                "batch": one maximum for all; a range (low, high); None: logit units, signed.
            signed: True keeps what speaks against the class: in [-1, 1], zero at 0, the largest magnitude at 1 or -1.
            align: "receptive_field" (default): each cell over the pixels that it sees; "stretch": the map stretched
                over the picture, as most libraries do.
            interpolation: "bilinear" (default), "bicubic", or "nearest" to see the cells.

        Returns:
            One float32 (C, H, W) per image, at the picture's own size; (C, T) for a signal, (C, D, H, W) for a volume.

        Raises:
            InvalidDataError: there is nothing that the maps lie on.
            InvalidOptionError: an unknown or impossible option.
        """
        check_drawable(self)
        # At the size of the images, in the units of the maps.
        whole = lay_over_images(self, align, interpolation)
        # What was cut off was not seen: it is no part of the scale, and no evidence.
        regions = [visible_slices(self, image) for image in range(len(whole))]
        visible = [maps[region] for maps, region in zip(whole, regions, strict=True)]
        # Scaled in place where there is something to scale by.
        heat = scale_together(visible, normalize, signed)
        if self.fit == "crop":
            heat = [frame_visible(*parts) for parts in zip(heat, whole, regions, strict=True)]
        return [maps for stack in heat for maps in stack]

    def grid_at(self, image: int) -> Grid | None:
        """Say where the cells of one image's maps lie.

        Args:
            image: which image.

        Returns:
            Its grid, in the image that the model was fed; None where that was not looked for.
        """
        return self.grids[image] if self.grids else self.grid

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

    def first(self, count: int) -> Explanation:
        """Give the result for the first few images.

        Args:
            count: how many images.

        Returns:
            An explanation of `count` images, or of all where there are fewer.
        """
        arrays = {name: getattr(self, name)[:count] for name in (*ARRAYS, "images", "grids")}
        # Findings are about the images that are left; those about none of them go.
        pairs = [(finding, tuple(image for image in finding.images if image < count)) for finding in self.diagnosis]
        findings = tuple(finding._replace(images=images) for finding, images in pairs if images)
        return replace(self, **arrays, diagnosis=findings)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything, pictures included, to one compressed `.npz` file (no pickles inside).

        Args:
            path: where to; ".npz" is added where it is missing.

        Returns:
            The path written to.
        """
        facts = {name: getattr(self, name) for name in FACTS}
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return write(path, facts, arrays, self.images, [self.grid, *self.grids])

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
        parts = read(path, ARRAYS)
        names, (grid, *grids) = parts.pop("class_names"), parts.pop("grids")
        # JSON has lists where there were tuples.
        findings = tuple(Finding(name, words, tuple(images)) for name, words, images in parts.pop("diagnosis"))
        parts |= {"grid": grid, "grids": tuple(grids), "class_names": None if names is None else tuple(names)}
        return cls(**parts, diagnosis=findings)

"""`inspect_model`: what keras_cam finds in a model, and why, before anything is explained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras

from keras_cam.graph.operations import Trait, has_trait
from keras_cam.graph.program import Step
from keras_cam.graph.spatial import channels_first, is_spatial, spatial_shape
from keras_cam.model.cut import Cut
from keras_cam.model.grid import strides_of
from keras_cam.model.head import EXACT, Head, find_head

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("", "feature layer", "type", "output", "stride")


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose output has a place in the image.

    Attributes:
        path: what to pass as `layer=`, such as "resnet50/conv5_block3_out".
        type: class of the layer or operation.
        shape: its output (height, width, channels), None where open.
        stride: input pixels from one cell to the next, per spatial axis; None where that is not known.
        chosen: whether it is the one that is explained.
    """

    path: str
    type: str
    shape: tuple[int | None, ...]
    stride: tuple[float, ...] | None
    chosen: bool


@dataclass(frozen=True)
class Inspection:
    """What was found in a model; prints as a table.

    Attributes:
        model: name of the model.
        input: name of the input that is explained.
        output: name of the output that is explained.
        layers: the last layer of every resolution on the way to the output.
        reason: why the chosen layer was chosen.
        head: what the head is: a key of `keras_cam.model.head.WORDS`.
        head_in_words: the same in words.
        head_layers: the layers from the feature maps to the scores.
        activation: what makes probabilities of the scores; "linear" where the outputs are values.
        num_classes: how many classes there are to explain.
        exact: whether the map of a class and its bias add up to its score.
    """

    model: str
    input: str
    output: str
    layers: tuple[FeatureLayer, ...]
    reason: str
    head: str
    head_in_words: str
    head_layers: tuple[str, ...]
    activation: str
    num_classes: int
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON.

        Returns:
            A dict of the attributes.
        """
        return asdict(self)

    def __str__(self) -> str:
        rows = [COLUMNS, *(_row(layer) for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
        return "\n".join(
            [f"Model {self.model!r}: input {self.input!r}, output {self.output!r}", "", *table, "", ""]
        ) + ("\n".join(f"{name:<9}{text}" for name, text in self._facts()))

    def __rich__(self) -> Table:
        """The same for a terminal, drawn by rich."""
        from rich.markup import escape
        from rich.table import Table

        caption = "\n".join(f"[bold]{name}[/bold] {escape(text)}" for name, text in self._facts())
        title = f"Model {escape(self.model)}: {escape(self.input)} to {escape(self.output)}"
        table = Table(*COLUMNS, title=title, caption=caption, caption_justify="left", caption_style="")
        table.columns[1].overflow = "fold"
        for layer in self.layers:
            table.add_row(*map(escape, _row(layer)), style="bold green" if layer.chosen else None)
        return table

    def _facts(self) -> list[tuple[str, str]]:
        kind = "values" if self.activation == "linear" else f"classes by {self.activation}"
        return [
            ("chosen", self.reason),
            ("head", f"{' -> '.join(self.head_layers) or 'none'}; {self.head_in_words}"),
            ("scores", f"{self.num_classes} {kind}"),
            ("map", "exact" if self.exact else "not exact: look at result.completeness"),
        ]


def inspect_model(
    model: keras.Model,
    *,
    output: int | str | None = None,
    layer: str | keras.layers.Layer | None = None,
    image_input: int | str | None = None,
) -> Inspection:
    """Say what is found in a model: feature layers, the one chosen and why, the head, and whether maps are exact.

    Nothing is trained, compiled or changed.

    Args:
        model: a built Keras model.
        output: which output to explain, by name or index; needed where the model has several.
        layer: path or name of the layer to take as feature map, or the layer itself; default: the last that has a
            place in the image.
        image_input: which input to explain where several are images; default: the first.

    Returns:
        What was found; `print` it.

    Raises:
        UnsupportedModelError: no feature maps, or several outputs and none chosen.
        InvalidOptionError: no such output, layer or input.

    Example:
        >>> import keras
        >>> from keras_cam import inspect_model
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> found = inspect_model(model)
        >>> [layer.path for layer in found.layers if layer.chosen], found.exact
        (['conv'], True)
    """
    head = find_head(model, output=output, layer=layer, image_input=image_input)
    cut = head.cut
    names = [f"{type(step.operation).__name__} {step.path!r}" for step in _tail(cut)]
    return Inspection(
        model=model.name,
        input=cut.program.specs[cut.program.inputs[cut.image_input]].name,
        output=cut.program.output_names[cut.program.outputs.index(cut.output)],
        layers=tuple(_feature_layers(cut)),
        reason=_reason(head, layer),
        head=head.kind,
        head_in_words=head.words,
        head_layers=tuple(names),
        activation=head.activation,
        num_classes=head.num_classes,
        exact=head.kind in EXACT,
    )


def _tail(cut: Cut) -> tuple[Step, ...]:
    return cut.program.steps_between([feature.slot for feature in cut.features], cut.logits)


def _feature_layers(cut: Cut) -> list[FeatureLayer]:
    """The last layer of each resolution on the way to the output, and those that are explained."""
    program, source = cut.program, cut.program.inputs[cut.image_input]
    chosen = {feature.slot for feature in cut.features}
    strides = strides_of(cut)
    last_of: dict[Any, int] = {}
    for step in program.steps_between([source], cut.logits):
        for slot in step.outputs:
            if is_spatial(program, slot) and not has_trait(step.operation, Trait.PADDING, Trait.CROPPING):
                last_of[strides.get(slot, spatial_shape(program, slot))] = slot
    found = []
    for slot in sorted({*last_of.values(), *chosen}):
        maker = program.producer(slot)
        if maker is not None:
            channels = program.shape(slot)[1 if channels_first(program, slot) else -1]
            shape = (*spatial_shape(program, slot), channels)
            found.append(
                FeatureLayer(maker.path, type(maker.operation).__name__, shape, strides.get(slot), slot in chosen)
            )
    return found


def _reason(head: Head, layer: str | keras.layers.Layer | None) -> str:
    if layer is not None:
        return f"asked for by layer={(layer if isinstance(layer, str) else layer.name)!r}"
    tail = _tail(head.cut)
    reader = f"{type(tail[0].operation).__name__} {tail[0].path!r}" if tail else "the output"
    several = f"{len(head.cut.features)} maps that add up, " if len(head.cut.features) > 1 else ""
    return f"{several}the last with a place in the image; {reader} reads it"


def _row(layer: FeatureLayer) -> tuple[str, ...]:
    shape = " x ".join("?" if length is None else str(length) for length in layer.shape)
    stride = "?" if layer.stride is None else " x ".join(f"{step:g}" for step in dict.fromkeys(layer.stride))
    return ("->" if layer.chosen else "", layer.path, layer.type, shape, stride)

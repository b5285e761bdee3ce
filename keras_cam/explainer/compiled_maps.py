"""What is compiled for one method on one cut model: from inputs to maps whole, by a forward pass, or in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cam.attribution.cut_model import FEWEST_POINTS, CutModel
from keras_cam.attribution.multiscale import add_on_finest_grid
from keras_cam.backend import Compiled
from keras_cam.explainer.cache import get_or_make
from keras_cam.methods.registry import Method, check_maps, is_built_in
from keras_cam.methods.view import View
from keras_cam.model.cut import Cut
from keras_cam.model.head import Head

Tensor = Any


class CompiledMaps:
    """The compiled functions of a method on a cut model; nothing is traced before it is called.

    Each gives the values of `keras_cam.explainer.map_function.Maps`, where the backend has them.

    Args:
        head: the head of the model.
        method: how to make maps.
        method_options: what the method is called with.
        num_points: at how many points gradients are taken where they are integrated.

    Attributes:
        forward: from inputs to the values of a forward pass (`CutModel.forward_slots`).
        all_classes: from inputs to the maps of all classes, of a head that folds.
        chosen_classes: from inputs and class indices to maps, by a method that is compiled whole.
        part_of_classes: the same from inputs, values of a forward pass and class indices.
        pieces: what methods that are called as they stand have asked of their views, by key.
    """

    def __init__(
        self, head: Head, method: Method, method_options: Mapping[str, Any], num_points: int = FEWEST_POINTS
    ) -> None:
        self._head, self._method, self._options = head, method, method_options
        self._cut_model = CutModel(head, num_points)
        self.pieces: dict[Any, Compiled] = {}

        # Sizes and dtypes of what goes in: the model's inputs, the values of its forward pass, indices of classes.
        program, forward = head.cut.program, self._cut_model.forward
        inputs, values = (
            [(program.shape(slot), program.specs[slot].dtype) for slot in slots]
            for slots in (program.inputs, self._cut_model.forward_slots)
        )
        classes, count = ((None, None), "int32"), len(inputs)
        self._piece_signature = [*inputs, *values]

        self.forward = self._compiled(lambda *given: forward(given), inputs)
        self.all_classes = self._compiled(lambda *given: self._explain(given, forward(given), None), inputs)
        self.chosen_classes = self._compiled(
            lambda *given: self._explain(given[:-1], forward(given[:-1]), given[-1]), [*inputs, classes]
        )
        self.part_of_classes = self._compiled(
            lambda *given: self._explain(given[:count], given[count:-1], given[-1]), [*inputs, *values, classes]
        )

    def stepwise(
        self, inputs: Sequence[Tensor], values: Sequence[Tensor], class_indices: np.ndarray, **options: Any
    ) -> tuple[Tensor, ...]:
        """The maps of a method that is called as it stands: what it asks of its view is compiled, piece by piece.

        Args:
            inputs: the inputs of the model.
            values: the values of its forward pass.
            class_indices: int32 (N, C).
            **options: `batch_size` and `verbose` of the `View`.

        Returns:
            The values of `Maps`.
        """
        return self._explain(inputs, values, ops.convert_to_tensor(class_indices), self._run_piece, **options)

    def _explain(
        self,
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        class_indices: Tensor | None,
        run: Callable[..., Any] | None = None,
        **options: Any,
    ) -> tuple[Tensor, ...]:
        """The values of `Maps`; all classes of a head that folds where `class_indices` is None."""
        head, forward_pass = self._head, self._cut_model.forward_pass_of(values)
        scores = head.scores(forward_pass.logits)
        if class_indices is None:  # the CAM of every class is one product of matrices
            maps, bias = self._cut_model.decomposition(forward_pass, None)
            class_indices = ops.broadcast_to(ops.arange(head.num_classes, dtype="int32"), ops.shape(scores))
        else:
            class_indices = _classes_of_ranks(scores, class_indices)
            # A view for each feature map, where the method does not see to all of them by itself.
            count = 1 if self._method.joins_features else len(head.cut.features)
            arguments = (self._cut_model, run, inputs, values, class_indices)
            maps, bias = self._maps_of([View(*arguments, index=index, **options) for index in range(count)])
        return maps, bias, class_indices, scores, head.probabilities(forward_pass.output)

    def _maps_of(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """What the method makes of its views, added up; NaN as bias where it does not take the score apart."""
        results = [self._method.function(view, **self._options) for view in views]
        if not (is_built_in(self._method) or self._method.compiled):
            for result, view in zip(results, views, strict=True):
                check_maps(result, view)
        if isinstance(results[0], tuple):  # maps and biases, of a method that has taken all scores apart
            maps, bias = results[0]
            return maps, bias
        maps = add_on_finest_grid([ops.cast(result, "float32") for result in results], self._head.cut)
        return maps, ops.full(ops.shape(views[0].class_indices), np.nan, dtype="float32")

    def _run_piece(
        self,
        key: Any,
        function: Callable[..., Any],
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        *tensors: Tensor,
    ) -> Any:
        """Run a function of a view, compiled at its first call."""
        # What is compiled serves any size, but one rank and dtype for each tensor.
        kinds = tuple((len(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)) for tensor in tensors)
        count, end = len(inputs), len(inputs) + len(values)

        def make() -> Compiled:
            signature = [*self._piece_signature, *(((None,) * rank, dtype) for rank, dtype in kinds)]
            return self._compiled(
                lambda *given: function(list(given[:count]), list(given[count:end]), *given[end:]), signature
            )

        return get_or_make(self.pieces, (key, kinds), make)(*inputs, *values, *tensors)

    def _compiled(self, function: Callable[..., Any], signature: Any) -> Compiled:
        return Compiled(function, signature, lambda: _variables(self._head.cut))


def _classes_of_ranks(scores: Tensor, class_indices: Tensor) -> Tensor:
    """Class indices (N, C) in which -1 stands for an image's highest score, -2 for the second, ..."""
    # All ranks of all images in one row, so that one `take` finds them.
    images, classes = ops.shape(scores)
    ranked = ops.reshape(ops.cast(ops.argsort(-scores, axis=-1), "int32"), (-1,))
    rows = ops.expand_dims(ops.arange(images, dtype="int32") * classes, 1)
    chosen = ops.take(ranked, rows + ops.maximum(-class_indices - 1, 0))  # `take_along_axis` takes three times as long
    return ops.where(class_indices < 0, chosen, class_indices)


def _variables(cut: Cut) -> list[keras.Variable]:
    """The variables of a model's operations, each once."""
    found = (variable for step in cut.program.steps for variable in getattr(step.operation, "variables", ()))
    return list({id(variable): variable for variable in found}.values())

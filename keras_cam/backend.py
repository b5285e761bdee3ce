"""The only file that knows TensorFlow, JAX or torch: compile a function, take a gradient.

Everything else is written with `keras.ops` or NumPy and runs on whatever backend Keras runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

Tensor = Any


def is_eager() -> bool:
    """Whether operations run at once, rather than being traced into somebody's graph (True or False)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    return True  # jax.jit and torch.compile trace through nested compiled functions by themselves


def call_eagerly(function: Callable[[], Any]) -> Any:
    """Call a function whose operations are to run at once, also while another one is being traced."""
    if is_eager():
        return function()
    # `tf.init_scope` stops all gradients; a thread of its own is in nobody's trace.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def fetch_weights(model: keras.Model) -> None:
    """Put a model's weights where its layers look for them: on JAX `fit` keeps them to itself while it runs."""
    if keras.backend.backend() == "jax" and hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the one that writes for all, where several train a model together."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        extended = getattr(getattr(model, "distribute_strategy", None), "extended", None)
        return bool(getattr(extended, "should_save_summary", True))
    if backend == "jax":
        import jax

        return bool(jax.process_index() == 0)
    import torch

    is_one_of_many = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not is_one_of_many or torch.distributed.get_rank() == 0


def as_arrays(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Tensors as NumPy arrays of their own."""
    if keras.backend.backend() == "tensorflow":  # without the questions that Keras asks of each first
        return [tensor.numpy() for tensor in tensors]
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def full_precision() -> AbstractContextManager[Any]:
    """Products of float32 in float32: JAX rounds the factors on GPU and TPU otherwise, and maps lose three digits."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_matmul_precision("highest")
    return nullcontext()


class Compiled:
    """A function compiled for the current backend, with one trace for every size that `signature` leaves open.

    TensorFlow: the one concrete function of a `tf.function`, without XLA (measured 6 to 10 times slower than the plain
    graph for depthwise convolutions on CPU). JAX: `jax.jit`, the variables passed as arguments, so that the compiled
    function follows training; it is compiled once for every size that comes. torch: the function itself, outside of
    autograd.

    Args:
        function: takes tensors, returns a structure of tensors; no Python side effects.
        signature: `(shape, dtype)` per argument; None stands for any size.
        variables: called once, for the variables that `function` reads (needed on JAX only).

    Attributes:
        traces: how often Python has run `function`, which under a compiler is once a trace.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: Sequence[tuple[tuple[int | None, ...], str]],
        variables: Callable[[], Sequence[keras.Variable]] = tuple,
    ) -> None:
        self.traces = 0
        self._function, self._signature, self._variables = function, signature, variables
        self._call: Callable[..., Any] | None = None

    def __call__(self, *arguments: Tensor) -> Any:
        """Call it, compiled at the first call."""
        if self._call is None:
            self._call = {"tensorflow": self._concrete, "jax": self._jitted}.get(
                keras.backend.backend(), self._outside_autograd
            )()
        return self._call(*arguments)

    def _traced(self, *arguments: Tensor) -> Any:
        self.traces += 1
        return self._function(*arguments)

    def _concrete(self) -> Callable[..., Any]:
        import tensorflow as tf

        specs = [tf.TensorSpec(shape, dtype) for shape, dtype in self._signature]
        # Called through the tf.function it would look its trace up each time, which takes longer than a small CAM.
        return tf.function(self._traced, input_signature=specs, autograph=False).get_concrete_function()

    def _jitted(self) -> Callable[..., Any]:
        import jax

        variables = list(self._variables())  # once, as asking all layers for theirs takes longer than a CAM on a GPU

        def stateless(state: list[Any], *arguments: Tensor) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, state, strict=True))):
                return self._traced(*arguments)

        jitted = jax.jit(stateless)
        return lambda *arguments: jitted([variable.value for variable in variables], *arguments)

    def _outside_autograd(self) -> Callable[..., Any]:
        import torch

        def call(*arguments: Tensor) -> Any:
            # What a caller's inference_mode makes could not be differentiated by any more, as a head may have to be.
            with torch.inference_mode(False), torch.no_grad():
                return self._traced(*arguments)

        return call


def gradient(
    function: Callable[[list[Tensor]], tuple[Tensor, Any]], points: list[Tensor], scale: float = 1.0
) -> tuple[list[Tensor], Any]:
    """Gradient of a scalar at several points, and whatever else the function returns.

    Args:
        function: takes the list of points, returns `(scalar, rest)`; `rest` is any structure of tensors.
        points: float tensors.
        scale: what the scalar is multiplied with on the way, where its gradient would be too small for the numbers.

    Returns:
        `(gradients, rest)`; a point that the scalar does not depend on has a gradient of zeros.
    """
    if scale != 1:
        gradients, rest = gradient(lambda given: _larger(scale, *function(given)), points)
        return [_smaller(scale, each) for each in gradients], rest
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            scalar, rest = function(points)
        return tape.gradient(scalar, points, unconnected_gradients="zero"), rest
    if backend == "jax":
        import jax

        return jax.grad(function, has_aux=True)(points)
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        points = [(point.clone() if point.is_inference() else point).detach().requires_grad_(True) for point in points]
        scalar, rest = function(points)
        if scalar.requires_grad:
            found = torch.autograd.grad(scalar, points, materialize_grads=True)
        else:  # torch does not take it then
            found = tuple(torch.zeros_like(point) for point in points)
    return list(found), keras.tree.map_structure(lambda tensor: tensor.detach(), rest)


def _larger(scale: float, scalar: Tensor, rest: Any) -> tuple[Tensor, Any]:
    return scalar * scale, rest


def _smaller(scale: float, tensor: Tensor) -> Tensor:
    return keras.ops.cast(tensor, "float32") / scale


def hessian_product(function: Callable[[Tensor], Tensor], point: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Gradient of a scalar at a point, and its Hessian times that point.

    Args:
        function: takes the point, returns a scalar.
        point: a float tensor.
        scale: as for `gradient`.

    Returns:
        `(gradient, product)`, each of the point's shape; zeros where the scalar does not depend on it.
    """
    if scale != 1:
        first, product = hessian_product(lambda given: function(given) * scale, point)
        return _smaller(scale, first), _smaller(scale, product)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(point)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(point)
                scalar = function(point)
            first = inner.gradient(scalar, point, unconnected_gradients="zero")
        return first, outer.gradient(first, point, output_gradients=point, unconnected_gradients="zero")
    if backend == "jax":
        import jax

        gradients = jax.grad(function)
        return jax.jvp(gradients, (point,), (point,))
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        point = (point.clone() if point.is_inference() else point).detach().requires_grad_(True)
        scalar = function(point)
        if not scalar.requires_grad:
            return torch.zeros_like(point), torch.zeros_like(point)
        first = torch.autograd.grad(scalar, [point], create_graph=True, materialize_grads=True)[0]
        if not first.requires_grad:
            return first, torch.zeros_like(point)
        product = torch.autograd.grad(first, [point], grad_outputs=[point.detach()], materialize_grads=True)[0]
    return first.detach(), product.detach()

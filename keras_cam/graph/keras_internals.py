"""Keras' own workings: all private names of Keras that this package knows, so that a new release is met in one file."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

Node = Any  # one call of one operation in Keras' graph


def producer_of(tensor: Any) -> Node:
    """The call that a symbolic tensor comes from."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def operation_of(tensor: Any) -> Any:
    """The operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def structures_of(model: keras.Model) -> tuple[Any, Any]:
    """The symbolic inputs and outputs of a model with a graph, in the structures that it takes and gives."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model._inputs_struct, model._outputs_struct


def runs_its_graph(operation: Any) -> bool:
    """Whether an operation is a nested model that does nothing but run its own graph."""
    if not isinstance(operation, keras.Model) or not getattr(operation, "outputs", None):
        return False
    kinds: list[Any] = [kind for kind in type(operation).__mro__ if kind.__name__ in ("Functional", "Sequential")]
    return any(type(operation).call is kind.call for kind in kinds)


def holds_layers(layer: keras.layers.Layer) -> bool:
    """Whether a layer is made of layers."""
    return any(True for _ in layer._layers)


def layers_inside(operation: Any) -> list[keras.layers.Layer]:
    """The layers that a layer is made of, at any depth, each once."""
    inside: Iterator[Any] = operation._flatten_layers(include_self=False)
    return list({id(layer): layer for layer in inside}.values())


@contextmanager
def without_new_nodes(operations: Iterable[Any]) -> Iterator[None]:
    """Take away, after the block, the nodes that calls on symbolic tensors have left on operations in it."""
    touched = list(operations)
    before = [(len(each._inbound_nodes), len(each._outbound_nodes)) for each in touched]
    try:
        yield
    finally:
        for each, (inbound, outbound) in zip(touched, before, strict=True):
            del each._inbound_nodes[inbound:], each._outbound_nodes[outbound:]


def inner_layer(wrapper: Any) -> Any:
    """The layer that a wrapper such as SpectralNormalization or TimeDistributed calls."""
    return wrapper.layer


def reshape_operation(shape: Sequence[int], name: str) -> Any:
    """The operation behind `keras.ops.reshape`, to a shape in which one length may be -1."""
    anything = keras.KerasTensor((*(length if length > 0 else 1 for length in shape),))
    return alias(operation_of(keras.ops.reshape(anything, anything.shape)), name, newshape=tuple(shape))


def item_operation(name: str) -> Any:
    """The operation behind `tensor[key]`, whose arguments are the tensor and the key."""
    return alias(operation_of(keras.KerasTensor((2,))[(slice(1),)]), name)


def with_known_lengths(node: Node, output: Any) -> Any:
    """What a call gives, with the lengths of axes that an EinsumDense leaves open and its equation knows."""
    layer = node.operation
    if type(layer) is not keras.layers.EinsumDense or None not in output.shape[1:] or "..." in layer.equation:
        return output
    inputs, _, letters = layer.equation.replace(" ", "").partition("->")
    lengths = dict(zip(inputs.partition(",")[0], node.input_tensors[0].shape, strict=True))
    shape = [
        lengths.get(letter) if length is None else length for letter, length in zip(letters, output.shape, strict=True)
    ]
    return keras.KerasTensor(shape, dtype=output.dtype)


def in_inference_mode(operation: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call as `model.predict` would have them."""
    takes_training = getattr(operation, "_call_has_training_arg", False)
    return {**kwargs, "training": False} if takes_training else kwargs


def alias(operation: Any, name: str, **changes: Any) -> Any:
    """A second operation object over the same variables and state, with another name and other attributes.

    It follows training, since it holds the same variables; nothing in `operation` changes.
    """
    # `copy.copy` would go through Keras' serialisation and copy the variables, and attributes set in the usual way
    # would be tracked as the layer's own.
    second = object.__new__(type(operation))
    second.__dict__.update(operation.__dict__, name=name, _inbound_nodes=[], _outbound_nodes=[], **changes)
    second.__dict__["_alias_of"] = weakref.ref(original(operation))  # a plain reference would be saved with the alias
    return second


def original(operation: Any) -> Any:
    """The caller's own operation that an alias was made from; any other operation as it is."""
    reference = getattr(operation, "_alias_of", None)
    return operation if reference is None else reference()


def for_any_rank(layer: keras.layers.BatchNormalization, name: str) -> Any:
    """An alias of a BatchNormalization over the last axis that also takes tensors of a rank it was not built for."""
    return alias(layer, name, axis=-1, _input_spec=None, _build_shapes_dict=None)


def without_keras_words(error: Exception) -> Exception:
    """The error, marked so that Keras does not put words of its own around its message."""
    marked: Any = error
    marked._keras_call_info_injected = True
    return error


def nodes_in_order(outputs: Iterable[Any], known: Iterable[int]) -> list[Node]:
    """The calls that make symbolic tensors from those `known` by id, each after those that it reads."""
    given, order, seen = set(known), list[Node](), set[int]()
    stack = [(tensor, False) for tensor in outputs]
    while stack:
        tensor, is_expanded = stack.pop()
        if id(tensor) in given:
            continue
        node = producer_of(tensor)
        if is_expanded:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((tensor, True))
            stack.extend((source, False) for source in node.input_tensors)
    return order

"""Every rule of the table of places against what is measured on a tiny model that holds the operation."""

import keras
import pytest
from support.measured_places import changes, place_of
from support.place_cases import CASES

from keras_cam.graph.open_layers import open_callers_layers
from keras_cam.graph.operations import LAYERS, OPERATIONS
from keras_cam.graph.place_rules import LAYER_RULES, OPERATION_RULES, TRAIT_RULES
from keras_cam.graph.trace import trace

# Names of the tables that no case can have.
NO_CASES = {
    "ops.LogSumExp": "Keras calls it Logsumexp",
    "ops.ReLU": "Keras calls it Relu",
    "ops.Rint": "Keras has none",
    "ops.Identity": "Keras has none",
    "ops.Abs": "`ops.abs` makes an Absolute",
    "MixUp": "takes images and labels in training only",
    "CutMix": "takes images and labels in training only",
    "AutoContrast": "every pixel depends on the darkest and the brightest of all, and stays where it is",
    "Equalization": "Keras 3.15 makes no model that holds it: a cycle in its graph",
}


@pytest.mark.parametrize("name", CASES)
def test_a_place_is_what_is_measured(name):
    case = CASES[name]
    model = case.model()
    kind = name.split()[0].removeprefix("ops.")
    steps = open_callers_layers(trace(model)).steps
    about = [step for step in steps if type(step.operation).__name__ == kind]
    assert about and isinstance(about[0].operation, keras.layers.Layer) != name.startswith("ops.")
    for number in range(len(model.outputs)):
        place = place_of(model, number)
        assert set({} if place is None else place.lines()) == case.expected
        if case.expected:
            case.check(changes(model, number), place)


def table(names, traits):
    return {*names, *(name for name, known in traits.items() if any(trait in known for trait in TRAIT_RULES))}


def test_every_rule_has_a_case():
    covered = {name.split()[0] for name in CASES}
    missing = table(LAYER_RULES, LAYERS) | {f"ops.{name}" for name in table(OPERATION_RULES, OPERATIONS)}
    assert missing - covered - set(NO_CASES) == set()

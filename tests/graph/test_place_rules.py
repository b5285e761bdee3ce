"""Every rule of the table of places against what is measured on a tiny model that holds the operation."""

import keras
import pytest
from packaging.version import Version
from support.measured_places import changes, place_of
from support.place_cases import CASES

from keras_cam.graph.operations import LAYERS, OPERATIONS
from keras_cam.graph.place_rules import LAYER_RULES, OPERATION_RULES, TRAIT_RULES
from keras_cam.graph.trace import open_callers_layers, trace

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


# What fails in Keras' own code before this release: it does not run, or is given a wrong shape.
SOUND_SINCE = Version("3.15")
UNSOUND = {
    "ops.ExtractPatches that overlap",
    "ops.ExtractPatches of a volume",
    "ops.Squeeze",
    "ops.Flip of all",
    "ops.Slice",
    "ops.Matmul of a row",
}


def model_of(name):
    if name in UNSOUND and Version(keras.__version__) < SOUND_SINCE:
        pytest.skip(f"Keras {keras.__version__} does not do this rightly")
    try:
        return CASES[name].model()
    except AttributeError as error:
        if not str(error).startswith("module 'keras"):
            raise
        pytest.skip(f"this Keras lacks it: {error}")


@pytest.mark.parametrize("name", CASES)
def test_a_place_is_what_is_measured(name):
    case, kind = CASES[name], name.split()[0].removeprefix("ops.")
    model = model_of(name)
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

"""What `inspect_model` and `keras-cam inspect` say of a model."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_cam import InvalidOptionError, UnsupportedModelError, inspect_model
from keras_cam.cli import main

layers = keras.layers


def transfer(pooling=layers.GlobalAveragePooling2D, activation="softmax"):
    """A nested backbone with two resolutions, as in transfer learning."""
    inputs = keras.Input((16, 24, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="block1")(inputs)
    x = layers.ZeroPadding2D(1, name="pad")(layers.MaxPooling2D(name="pool")(x))
    backbone = keras.Model(inputs, layers.Conv2D(6, 3, activation="relu", name="block2")(x), name="backbone")
    outer = keras.Input((16, 24, 3), name="photo")
    x = pooling(name="pooling")(backbone(layers.Rescaling(1 / 255)(outer)))
    return keras.Model(outer, layers.Dense(5, activation=activation, name="scores")(x), name="mine")


def test_what_is_found_in_a_nested_model():
    found = inspect_model(transfer())
    assert [(layer.path, layer.type, layer.shape, layer.stride, layer.chosen) for layer in found.layers] == [
        ("backbone/block1", "Conv2D", (16, 24, 4), (1.0, 1.0), False),
        ("backbone/block2", "Conv2D", (8, 12, 6), (2.0, 2.0), True),
    ]
    assert (found.model, found.input, found.output) == ("mine", "photo", "scores")
    assert found.head == "affine" and found.exact and found.activation == "softmax" and found.num_classes == 5
    assert found.reason == "the last with a place in the image; GlobalAveragePooling2D 'pooling' reads it"
    assert found.head_layers == ("GlobalAveragePooling2D 'pooling'", "Dense 'scores'")


def test_the_words_on_paper_and_in_a_terminal_say_the_same():
    found = inspect_model(transfer())
    lines = str(found).splitlines()
    assert lines[0] == "Model 'mine': input 'photo', output 'scores'"
    assert lines[2].split() == ["feature", "layer", "type", "output", "stride"]
    assert lines[4].startswith("->  backbone/block2  Conv2D  8 x 12 x 6")
    assert "affine: one weight per channel and class" in str(found) and "5 classes by softmax" in str(found)
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found)
    drawn = console.export_text()
    console.file.close()
    for words in ("backbone/block2", "8 x 12 x 6", "exact", "5 classes by softmax"):
        assert words in drawn
    assert "…" not in drawn


def test_brackets_in_a_name_are_not_taken_for_markup():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(2, 3, name="[red]conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(inspect_model(model))
    console.file.close()
    assert "[red]conv" in console.export_text()


def test_a_head_that_is_not_affine_and_a_layer_asked_for():
    model = transfer(layers.GlobalMaxPooling2D, None)
    found = inspect_model(model, layer="block1")
    assert [layer.path for layer in found.layers if layer.chosen] == ["backbone/block1"]
    assert found.reason == "asked for by layer='block1'"
    assert inspect_model(model).head == "position_dependent"
    assert "5 values" in str(inspect_model(model))


def test_nothing_in_the_model_changes():
    model = transfer()
    before, weights = model.get_config(), [np.array(weight) for weight in model.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    inspect_model(model)
    assert model.get_config() == before
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors_come_as_from_the_explainer():
    with pytest.raises(UnsupportedModelError, match="no convolutional feature maps"):
        inspect_model(keras.Sequential([keras.Input((4,)), layers.Dense(2)]))
    with pytest.raises(InvalidOptionError, match=r"no layer 'block7'.*'backbone/block2'"):
        inspect_model(transfer(), layer="block7")


# the command


def test_the_command_prints_plain_words_in_a_pipe(tmp_path, capsys):
    transfer().save(tmp_path / "mine.keras")
    assert main(["inspect", str(tmp_path / "mine.keras")]) == 0
    assert capsys.readouterr().out == f"{inspect_model(transfer())}\n"


def test_the_command_prints_json(tmp_path, capsys):
    transfer().save(tmp_path / "mine.keras")
    assert main(["inspect", str(tmp_path / "mine.keras"), "--json", "--layer", "backbone/block1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"][0] == {
        "path": "backbone/block1",
        "type": "Conv2D",
        "shape": [16, 24, 4],
        "stride": [1.0, 1.0],
        "chosen": True,
    }


def test_the_command_knows_the_applications(capsys):
    assert main(["inspect", "MobileNet"]) == 0
    printed = capsys.readouterr().out
    assert "->  conv_pw_13_relu" in printed and "7 x 7 x 1024" in printed


@pytest.mark.parametrize(
    ("model", "words"),
    [("nothing.keras", "neither a file nor a model of keras.applications"), ("README", "cannot be loaded")],
)
def test_the_command_says_what_it_cannot_load(model, words, tmp_path, capsys):
    (tmp_path / "README").write_text("no model")
    assert main(["inspect", str(tmp_path / model) if model == "README" else model]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("keras-cam: ") and words in errors and errors.count("\n") == 1


def test_a_terminal_gets_a_drawn_table(tmp_path):
    """Through a pseudo terminal, as a person sees it."""
    pty = pytest.importorskip("pty", reason="pseudo terminals are there on Unix only")
    transfer().save(tmp_path / "mine.keras")
    code = f"import sys; from keras_cam.cli import main; sys.exit(main(['inspect', {str(tmp_path / 'mine.keras')!r}]))"
    main_end, other_end = pty.openpty()
    run = subprocess.run([sys.executable, "-c", code], stdout=other_end, stderr=subprocess.PIPE, check=False)
    import os

    os.close(other_end)
    drawn = b""
    try:
        while chunk := os.read(main_end, 65536):
            drawn += chunk
    except OSError:  # the other end is closed and all is read
        pass
    os.close(main_end)
    assert run.returncode == 0, run.stderr
    assert "┃" in drawn.decode() and "backbone/block2" in drawn.decode()

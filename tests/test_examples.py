"""The examples, run as a user runs them, small."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest

import keras_cam
from keras_cam.shapes import make_shapes

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def start(script, *arguments, cwd):
    """Run an example in a process of its own, as a user does."""
    paths = [str(Path(keras_cam.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run(script, *arguments):
    """Run an example in this process, as starting another takes seconds."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, EXAMPLES / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(word) for word in arguments])


def refusal(script, *arguments):
    """What an example that stops at once says."""
    with pytest.raises(SystemExit) as stopped:
        run(script, *arguments)
    assert isinstance(stopped.value.code, str)  # which Python writes to standard error, and exits with 1
    return stopped.value.code


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture_size(path):
    with PIL.Image.open(path) as picture:
        picture.load()
        return picture.size


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Class folders of drawn pictures: train/<class>/*.png, test/<class>/*.png."""
    root = tmp_path_factory.mktemp("folders")
    for part, seed in (("train", 0), ("test", 1)):
        shapes = make_shapes(16, seed=seed)
        for index, (image, label) in enumerate(zip(shapes.images, shapes.labels, strict=True)):
            folder = root / part / shapes.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(image).save(folder / f"{index:02d}.png")
    return root


@pytest.fixture(scope="module")
def photo(folders):
    return next((folders / "test" / "star").iterdir())


@pytest.mark.usefixtures("tf")  # tf.data, and Keras' own TensorBoard callback
def test_train_cifar10_and_explain_a_picture_with_the_network_it_leaves(folders, photo, folder, capsys):
    done = start("train_cifar10.py", "--data", folders, "--epochs", 2, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Test accuracy" in done.stdout
    assert "tensorboard --logdir run/logs --samples_per_plugin images=1000" in done.stdout
    width, height = picture_size(folder / "run" / "sheet.png")
    assert width > 1500 and height > 300
    assert list((folder / "run" / "logs" / "cam").glob("events.out.tfevents.*"))
    assert "CAMCallback could not" not in done.stderr

    names = "circle,square,star,triangle"  # folders are read in the order of their names
    run("one_image.py", "run/network.keras", photo, "--class-names", names, "--classes", "star")
    said = capsys.readouterr().out
    assert said.startswith("star ") and "8x8 maps" in said
    assert picture_size("cam.png")[0] >= 600


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # random weights
def test_one_image_with_a_model_of_keras_applications(photo, capsys):
    run("one_image.py", "MobileNetV2", photo, "--weights", "none", "--classes", "top2", "--out", "two.png")
    said = capsys.readouterr()
    assert "Random weights" in said.err
    assert said.out.count("class ") == 2
    assert "7x7 maps from layer 'out_relu': two.png" in said.out
    width, height = picture_size("two.png")
    assert width >= 600 and height >= 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("MobileNetV2", "{photo}", "--weights", "missing.h5"),
            "The weights 'missing.h5' of MobileNetV2 cannot be had",
        ),
        (("NoSuchNet", "{photo}"), "'NoSuchNet' is neither a file nor a model of keras.applications"),
        (("MobileNetV2", "missing.png", "--weights", "none"), "No such image file. Received: 'missing.png'"),
        (("{model}", "{photo}"), "has no convolutional feature maps"),
    ],
)
def test_one_image_says_what_it_cannot_do(arguments, message, photo, folder):
    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    model = folder / "flat.keras"
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(model)
    assert message in refusal("one_image.py", *(word.format(photo=photo, model=model) for word in arguments))


@pytest.fixture(scope="module")
def one_output(tmp_path_factory):
    """A file of a network with one number at its end, for which something speaks in every picture."""
    path = tmp_path_factory.mktemp("model") / "one.keras"
    layers = [keras.layers.Conv2D(3, 3, activation="relu", name=name) for name in ("first", "last")]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((32, 32, 3)), *layers, *head])
    model.set_weights([np.abs(weights) for weights in model.get_weights()])
    model.save(path)
    return path


def lines_of(said):
    """What compare_methods said of each method, by its name."""
    return {line.split()[0]: line for line in said.splitlines() if "forward passes" in line or "left out: " in line}


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # hardly trained
def test_compare_methods_on_a_network_of_its_own(capsys):
    run("compare_methods.py", "--shapes", 32, "--samples", 2, "--max-channels", 4, "--out", "all")
    found = lines_of(capsys.readouterr().out)
    assert list(found) == ["auto", *(name for name in keras_cam.METHODS if name != "cam")]
    assert all("12x12" in line or "96x96" in line for line in found.values())
    width, height = picture_size("all/sheet.png")
    assert width == 6 * 240 + 5 * 10 and height > 4 * 240


@pytest.mark.filterwarnings("ignore::keras_cam.CAMWarning")  # random weights
def test_compare_methods_on_a_network_from_a_file(photo, capsys):
    layers = [keras.layers.Conv2D(3, 3, activation="gelu"), keras.layers.GlobalAveragePooling2D()]  # no ReLU to guide
    keras.Sequential([keras.Input((32, 32, 3)), *layers, keras.layers.Dense(2)]).save("gelu.keras")
    few = ("--methods", "cam", "guided_backprop", "saliency", "--class-names", "a,b", "--class-index", 1)
    run("compare_methods.py", "--model", "gelu.keras", "--image", photo, *few)
    assert "left out: Model " in lines_of(capsys.readouterr().out)["guided_backprop"]
    assert picture_size("compare-run/sheet.png")[0] == 3 * 240 + 2 * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "no_cam"), "method must be one of"),
        (("--methods", "saliency", "--layer", "first", "last"), "Name one layer, or none"),
        (("--preprocess", "nope"), "--preprocess must be one of convnext, densenet"),
        (("--model", "missing.keras"), "No model can be loaded from 'missing.keras': File not found"),
        (("--model", "{photo}"), "No model can be loaded from"),
        (("--image", "missing.png"), "No such image file. Received: 'missing.png'"),
    ],
)
def test_compare_methods_says_what_it_cannot_do_in_a_line(arguments, message, one_output, photo):
    given = [word.format(photo=photo) for word in arguments]
    said = refusal("compare_methods.py", "--model", one_output, "--image", photo, *given)
    assert message in said and len(said.strip().splitlines()[-1]) > len(message)


def test_compare_methods_draws_the_rest(one_output, photo, capsys):
    """Pixels have no layers to fuse, and finer_cam needs a second class: that is said, and the sheet is drawn."""
    methods = ("--methods", "auto", "saliency", "finer_cam", "layer_cam", "--layer", "first", "last")
    run("compare_methods.py", "--model", one_output, "--image", photo, *methods)
    found = lines_of(capsys.readouterr().out)
    for method, words in (("saliency", "Name one layer"), ("finer_cam", "needs two classes")):
        assert "left out" in found[method] and words in found[method]
    assert picture_size("compare-run/sheet.png")[0] == 3 * 240 + 2 * 10

"""Show where a trained model looks in one picture.

With a model of your own:                 python examples/one_image.py network.keras photo.jpg
With one of keras.applications:           python examples/one_image.py MobileNetV2 photo.jpg --classes top3
The same without its ImageNet weights:    python examples/one_image.py MobileNetV2 photo.jpg --weights none
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

import keras_cam


def application_module(name: str) -> ModuleType | None:
    """Find the module of keras.applications that has the model, and its `preprocess_input`."""
    modules = [part for part in vars(keras.applications).values() if isinstance(part, ModuleType)]
    return next((module for module in modules if hasattr(module, name) and hasattr(module, "preprocess_input")), None)


def load_application(name: str, module: ModuleType, weights: str) -> keras.Model:
    """Build a model of keras.applications, downloading its weights where that is wanted."""
    if weights == "none":
        print("Random weights: the picture shows how it works, but means nothing.", file=sys.stderr)
    try:
        return getattr(module, name)(weights=None if weights == "none" else weights)
    except Exception as error:
        raise SystemExit(
            f"The weights {weights!r} of {name} cannot be had: {error}\nWithout network, give --weights FILE, or "
            "--weights none for random ones."
        ) from error


def imagenet_names(model: keras.Model) -> list[str] | None:
    """Look up the names of the 1000 ImageNet classes; None where they cannot be downloaded."""
    num_classes = model.output_shape[-1]
    try:
        ranked = keras.applications.imagenet_utils.decode_predictions(
            keras.ops.convert_to_numpy(keras.ops.arange(num_classes, 0, -1, dtype="float32"))[None], top=num_classes
        )
    except Exception as error:
        print(f"No class names, numbers instead: {error}", file=sys.stderr)
        return None
    return [name for _, name, _ in ranked[0]]


def load_model(options: argparse.Namespace) -> tuple[keras.Model, Callable[[Any], Any] | None, list[str] | None]:
    """Load the model, what prepares its input, and the names of its classes."""
    if Path(options.model).exists():
        names = options.class_names.split(",") if options.class_names else None
        return keras.models.load_model(options.model, compile=False), None, names
    module = application_module(options.model)
    if module is None:
        raise SystemExit(f"{options.model!r} is neither a file nor a model of keras.applications, such as ResNet50.")
    model = load_application(options.model, module, options.weights)
    return model, module.preprocess_input, imagenet_names(model) if options.weights == "imagenet" else None


def main(arguments: list[str] | None = None) -> None:
    """Explain one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a file of keras.Model.save, or the name of a model in keras.applications")
    parser.add_argument("picture", help="a picture file, of any size")
    parser.add_argument("--out", default="cam.png", metavar="PNG", help="default: %(default)s")
    parser.add_argument("--classes", default="top1", help="top1, top3, a class name or number (default: %(default)s)")
    parser.add_argument("--weights", default="imagenet", help="of keras.applications: imagenet, none or a file")
    parser.add_argument("--class-names", metavar="A,B,...", help="of a model file")
    options = parser.parse_args(arguments)

    model, preprocess, class_names = load_model(options)
    classes = int(options.classes) if options.classes.isdecimal() else options.classes
    try:
        result = keras_cam.explain(
            model, options.picture, classes=classes, preprocess=preprocess, class_names=class_names
        )
    except keras_cam.CAMError as error:
        raise SystemExit(str(error)) from error
    result.plot().savefig(options.out, dpi=100)
    print(", ".join(result.title(0, slot) for slot in range(result.maps.shape[1])))
    print(f"{result.maps.shape[2]}x{result.maps.shape[3]} maps from layer {result.layer!r}: {options.out}")


if __name__ == "__main__":
    main()

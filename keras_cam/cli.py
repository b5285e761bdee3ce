"""The command `keras-cam`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from keras_cam import __version__
from keras_cam.errors import CAMError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `keras-cam`; default: those that the process was started with.

    Returns:
        The exit code: 0, or 2 where what was asked for cannot be done, with one line on stderr saying why.
    """
    # What we raise on purpose is one line; anything else is a fault of ours, and keeps its traceback.
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CAMError as error:
        print(f"keras-cam: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nkeras-cam: stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keras-cam", description="See where a Keras CNN looks.")
    parser.add_argument("--version", action="version", version=f"keras-cam {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_inspect(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "train a small network that cheats, and see its maps give it away (about a minute on a CPU)"
    demo = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".")
    demo.add_argument("--honest", action="store_true", help="train without the source tag that the network cheats by")
    demo.add_argument(
        "--out", default="keras-cam-demo", metavar="DIR", help="for pictures and logs (default: %(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="of pictures and weights (default: %(default)s)")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from keras_cam.demo import run_demo

    print(run_demo(options.out, honest=options.honest, seed=options.seed).report())


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "say what is found in a model: feature layers, the head, and whether its maps are exact"
    inspect = commands.add_parser("inspect", help=text, description=text[0].upper() + text[1:] + ".")
    inspect.add_argument("model", metavar="MODEL", help="a file of model.save(), or a name in keras.applications")
    inspect.add_argument("--output", help="which output to explain, by name or number")
    inspect.add_argument("--layer", help="path or name of the layer to take as feature map")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from keras_cam.model.inspection import inspect_model

    output = int(options.output) if (options.output or "").isdecimal() else options.output
    found = inspect_model(_load(options.model), output=output, layer=options.layer)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(found)
    else:
        print(found)


def _load(name: str) -> Any:
    """A model from a file, or one of keras.applications with random weights."""
    import keras

    # A file is meant before a name: a user may have one that is called ResNet50.
    if os.path.exists(name):
        try:
            return keras.models.load_model(name, compile=False)
        except Exception as error:  # whatever the caller's file makes Keras raise
            raise CAMError(f"{name!r} cannot be loaded as a Keras model: {error}") from error
    constructor = getattr(keras.applications, name, None)
    if not callable(constructor):
        raise CAMError(f"{name!r} is neither a file nor a model of keras.applications, such as ResNet50.")
    return constructor(weights=None)


if __name__ == "__main__":
    sys.exit(main())

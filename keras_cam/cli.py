"""The command `keras-cam`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keras_cam import __version__
from keras_cam.errors import CAMError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `keras-cam`; default: those that the process was started with.

    Returns:
        The exit code: 0, or 2 where what was asked for cannot be done, with one line on stderr saying why.
    """
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


if __name__ == "__main__":
    sys.exit(main())

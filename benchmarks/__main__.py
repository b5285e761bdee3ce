"""Run one of the benchmarks, from the root of the repository.

python -m benchmarks performance --models MobileNetV2
python -m benchmarks NAME --help
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BENCHMARKS = {
    "performance": "time and memory, beside the plain forward pass: docs/performance.md",
    "gpu": "the same on an accelerator, by JAX or torch, and the bandwidth that the operation reaches",
    "methods": "cost and quality of every method: docs/methods.md",
    "localization": "placed maps against stretched ones, by boxes: docs/localization.md",
    "callback": "what CAMCallback adds to an epoch: docs/training.md",
    "placement": "placing maps over a picture, against cv2.resize",
}


def main() -> None:
    """Hand the rest of the command line to the benchmark that it names."""
    names = "\n".join(f"  {name:14}{what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure keras_cam.\n\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("name", choices=BENCHMARKS, metavar="NAME", nargs="?", help="one of these")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="NAME --help lists them")
    chosen = parser.parse_args()
    if chosen.name is None:
        parser.print_help()
    else:
        import_module(f"benchmarks.{chosen.name}").main(chosen.options)


if __name__ == "__main__":
    main()

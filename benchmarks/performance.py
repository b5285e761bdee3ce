"""Time and memory of keras_cam, beside the model's own compiled forward pass on the same batch.

    python -m benchmarks performance --json performance.json --page docs/performance.md
    python -m benchmarks performance --quick --guard
    python -m benchmarks performance --only batches --rival benchmarks.rivals:keras_recipe

The two take turns; shown is the median of the pairs' ratios, with quartiles, beside that of the forward pass against
itself. The backend is that of Keras (KERAS_BACKEND).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.forward import build
from benchmarks.machine import machine
from benchmarks.measured import EXCEEDED, Measured, from_json, line_of, table_of, updated
from benchmarks.pages import fill
from benchmarks.processes import MEBIBYTE, growth_row, import_row, process_rows
from benchmarks.tasks import Setting, batch_rows, held_by, masking_rows, picture_rows, stream_rows

MODELS, BATCHES = ("MobileNetV2", "ResNet50", "EfficientNetB0"), (1, 8, 32)
PARTS = ("batches", "masking", "picture", "stream", "processes", "growth")
QUICK = {"models": ["MobileNetV2"], "batches": [1, 8], "seconds": 3.0, "processes": 5}


def rows_of(chosen: argparse.Namespace) -> Iterator[Measured]:
    """Measure what was chosen, one thing after the other."""
    for name in chosen.models:
        setting = Setting(name, build(name, chosen.side), chosen.side, chosen.seconds)
        if "batches" in chosen.only:
            yield from batch_rows(setting, chosen.batches, chosen.rival)
        if "masking" in chosen.only:
            yield from masking_rows(setting)
        if "picture" in chosen.only:
            yield from picture_rows(setting)
        if "stream" in chosen.only:
            yield from stream_rows(setting)
        if "processes" in chosen.only:
            batch = max(chosen.batches)
            held = held_by(setting.model, batch) / MEBIBYTE
            yield from process_rows(name, chosen.side, batch, held, chosen.processes)
        if "growth" in chosen.only:
            yield growth_row(name, chosen.side, chosen.calls)
    if "processes" in chosen.only:
        yield import_row(3 * chosen.processes)


def main(arguments: list[str] | None = None) -> list[Measured]:
    """Measure, print and write; with --guard exit with 1 where a bound is exceeded by more than the noise."""
    chosen = parsed(arguments)
    start, rows = time.perf_counter(), list[Measured]()
    earlier = json.loads(chosen.json.read_text("utf-8")) if chosen.update else {"rows": []}
    print(machine(), flush=True)
    for row in rows_of(chosen):
        rows.append(row)
        print(line_of(row), file=sys.stderr, flush=True)
    took = f"{(time.perf_counter() - start) / 60:.0f} minutes, load {os.getloadavg()[1]:.1f}"
    facts = f"{machine()}; {took}."
    if chosen.update:
        where = "" if earlier["machine"].startswith(machine()) else f" on {machine()}"
        facts = f"{earlier['machine'].rstrip('.')}; {len(rows)} rows anew{where}: {took}."
    whole = updated([from_json(row) for row in earlier["rows"]], rows)
    print(table_of(whole))
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": facts, "rows": [row.as_json() for row in whole]}), "utf-8")
    if chosen.page:
        fill(chosen.page, {chosen.table: f"{facts}\n\n{table_of(whole)}"})
    exceeded = [row for row in rows if row.verdict == EXCEEDED]
    if chosen.guard and exceeded:
        raise SystemExit("\n".join(["Slower than it should be:", *map(line_of, exceeded)]))
    return rows


def parsed(arguments: list[str] | None) -> Any:
    """The command line; --quick sets what is not said."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks performance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="of keras.applications")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help="images at once")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts (default: all)")
    parser.add_argument("--seconds", type=float, default=6, help="for each thing, about (default: 6)")
    parser.add_argument("--processes", type=int, default=9, help="fresh ones of each kind (default: 9)")
    parser.add_argument("--calls", type=int, default=1000, help="calls to watch the memory over (default: 1000)")
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels (default: 224)")
    parser.add_argument("--rival", action="append", default=[], help="module:function of another implementation")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    parser.add_argument("--update", action="store_true", help="keep what the JSON file holds and is not measured anew")
    parser.add_argument("--page", type=Path, help="Markdown page to write the table into")
    parser.add_argument("--table", default="performance", help="which table of the page (default: performance)")
    parser.add_argument("--guard", action="store_true", help="fail where a bound is exceeded by more than the noise")
    parser.add_argument("--quick", action="store_true", help=f"the same, smaller: {QUICK}")
    if "--quick" in (sys.argv if arguments is None else arguments):
        parser.set_defaults(**QUICK)
    chosen = parser.parse_args(arguments)
    if chosen.update and not (chosen.json and chosen.json.exists()):
        parser.error("--update needs --json, a file that an earlier run has written")
    return chosen

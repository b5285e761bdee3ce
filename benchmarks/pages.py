"""Pages whose tables are written by a benchmark, each between two marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def fill(page: Path, tables: Mapping[str, str]) -> None:
    """Write the tables of a page anew, each between its marks.

    Args:
        page: a Markdown file with `<!-- NAME, written by python -m benchmarks -->` and `<!-- end of NAME -->`.
        tables: by NAME.

    Raises:
        SystemExit: the page lacks the marks of a table.
    """
    text = page.read_text("utf-8")
    for name, table in tables.items():
        start, end = f"<!-- {name}, written by python -m benchmarks -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{page} has no place for the table {name!r}: {start} ... {end}")
        text = f"{before}{start}\n{table}\n{end}{after}"
    page.write_text(text, "utf-8")

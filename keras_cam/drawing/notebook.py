"""Pictures in a notebook: one piece of HTML with everything in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

FIGURE = '<figure style="margin:0"><img src="data:image/png;base64,{}" alt="{}"><figcaption>{}</figcaption></figure>'


def html(summary: str, rows: Sequence[Sequence[tuple[bytes, str]]], notes: Sequence[str] = ()) -> str:
    """Lay out rows of pictures with a line of text below each; all words are escaped.

    Args:
        summary: a line above.
        rows: (PNG bytes, words) of each picture.
        notes: lines below.

    Returns:
        HTML that needs nothing from outside.

    >>> "<b>" in html("a <b>", [[(b"", "x")]])
    False
    """
    # Pictures are part of the page, as base64, so that a saved notebook shows them too.
    parts = [f"<div><p><code>{escape(summary)}</code></p>"]
    for row in rows:
        cells = "".join(FIGURE.format(b64encode(png).decode(), escape(words), escape(words)) for png, words in row)
        parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin-bottom:12px">{cells}</div>')
    return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in notes), "</div>"])

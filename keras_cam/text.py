"""Letters as pixels, for captions and labels: Pillow draws them in a font that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

__all__ = ["INK", "PAPER", "text_picture", "text_width"]

PAPER, INK = (255, 255, 255), (20, 20, 20)


def text_picture(lines: Sequence[str], text_size: int, width: int | None = None) -> np.ndarray:
    """Dark lines on white: `width` wide and shortened where too long, or by default as wide as the longest."""
    font = _font(text_size)
    margin, line_height = text_size // 3, round(text_size * 1.35)
    if width is None:
        width = text_width(lines, text_size)
    paper = PIL.Image.new("RGB", (width, line_height * len(lines) + 2 * margin), PAPER)
    draw = PIL.ImageDraw.Draw(paper)
    for index, line in enumerate(lines):
        draw.text((margin, margin + index * line_height), _shortened(line, font, width - 2 * margin), INK, font)
    return np.asarray(paper)


def text_width(lines: Sequence[str], text_size: int) -> int:
    """Room for the longest line and a margin on both sides."""
    return ceil(max(_font(text_size).getlength(_one_line(line)) for line in lines)) + 2 * (text_size // 3)


def _one_line(text: str) -> str:
    return " ".join(str(text).splitlines())


def _shortened(line: str, font: PIL.ImageFont.FreeTypeFont, width: int) -> str:
    """The line if it fits in `width` pixels, else as much of it as does, and an ellipsis."""
    text = _one_line(line)
    if font.getlength(text) <= width:
        return text
    kept = text[:width]  # letters are at least a pixel wide
    while kept and font.getlength(kept + "…") > width:
        kept = kept[:-1].rstrip()
    return kept + "…"


@lru_cache(maxsize=8)
def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which ships with matplotlib."""
    import matplotlib

    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)

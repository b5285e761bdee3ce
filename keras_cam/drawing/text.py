"""Letters as pixels, for captions and labels: DejaVu Sans, and for letters it lacks what the system has."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from keras_cam.errors import CAMWarning, InvalidOptionError

PAPER, INK = (255, 255, 255), (20, 20, 20)
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # drawn for a letter that no font has
EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"}
SPECIAL_CUTS = ("bold", "italic", "oblique", "mono", "serif", "light", "thin", "black", "medium", "condensed")
_told: set[str] = set()  # scripts that were warned of


class Title(NamedTuple):
    """A line of a name and a value: where it is too long the name is shortened, and the value kept whole.

    >>> str(Title("red fox", "97.2%"))
    'red fox 97.2%'
    """

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


def text_picture(lines: Sequence[str | Title], text_size: int, width: int | None = None) -> np.ndarray:
    """Write dark lines on white, in fonts that have their letters.

    Args:
        lines: one string for each line, or a `Title`, whose value is kept whole where it is shortened.
        text_size: height of the letters in pixels.
        width: of the picture, in pixels; lines that are too long for it get an ellipsis. Default: as wide as the
            longest line.

    Returns:
        uint8 RGB.

    >>> text_picture(["epoch 3", Title("fox", "98%")], 12, width=90).shape
    (40, 90, 3)
    """
    margin, line_height = text_size // 3, round(text_size * 1.35)
    if width is None:
        width = text_width(lines, text_size)
    paper = PIL.Image.new("RGB", (width, line_height * len(lines) + 2 * margin), PAPER)
    draw = PIL.ImageDraw.Draw(paper)
    # All fonts stand on the base line of the first; each run of letters begins where the one before it ends.
    ascent = _font(_dejavu(), text_size).getmetrics()[0]
    for index, line in enumerate(lines):
        left = float(margin)
        for path, run in _runs(_shortened(line, text_size, width - 2 * margin)):
            draw.text((left, margin + index * line_height + ascent), run, INK, _font(path, text_size), anchor="ls")
            left += _font(path, text_size).getlength(run)
    return np.asarray(paper)


def text_width(lines: Sequence[str | Title], text_size: int) -> int:
    """Room for the longest line and a margin on both sides."""
    return ceil(max(_length(drawable(line), text_size) for line in lines)) + 2 * (text_size // 3)


def drawable(text: str | Title) -> str:
    """The text as one line of letters that some font has; in place of others the replacement character."""
    # Line breaks and tabs are spaces.
    whole = " ".join(str(text).split()).encode("utf-8", "replace").decode()  # half of a surrogate pair becomes "?"
    letters = ""
    for letter in whole:
        if _font_with(letter) is None:
            _tell(letter)
            letters += UNKNOWN
        elif letters[-1:] != UNKNOWN or not _is_mark(letter):  # a mark on nothing is left out
            letters += letter
    return letters


def fonts_for(text: str) -> list[str]:
    """Files of the fonts that a drawable text needs, DejaVu Sans first."""
    return list(dict.fromkeys([_dejavu(), *(path for path, _ in _runs(text))]))


def _runs(text: str) -> list[tuple[str, str]]:
    """The text in pieces, each with the font that has its letters; marks stay with the letter before them."""
    runs: list[tuple[str, str]] = []
    for letter in text:
        path = _font_with(letter) or _dejavu()
        if runs and (path == runs[-1][0] or letter == " " or _is_mark(letter)):
            runs[-1] = (runs[-1][0], runs[-1][1] + letter)
        else:
            runs.append((path, letter))
    return runs


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Me", "Mc", "Cf")


def _length(text: str, text_size: int) -> float:
    return sum(_font(path, text_size).getlength(run) for path, run in _runs(text))


def _shortened(line: str | Title, text_size: int, width: int) -> str:
    """The line if it fits in `width` pixels, else what of it does, and an ellipsis: at its end, or before a value."""
    text = drawable(line)
    if _length(text, text_size) <= width:
        return text
    start, end = halves(line)
    if _length("…" + end, text_size) > width:
        start, end = text, ""
    # From the longest start that may fit, a letter less at a time.
    start = start[: max(width, 0)]  # letters are at least a pixel wide
    while start and _length(start + "…" + end, text_size) > width:
        start = start[:-1].rstrip()
    return start + "…" + end


def halves(line: str | Title) -> tuple[str, str]:
    """What of a line may be shortened, and what is kept: a value, with a space before it. Both drawable."""
    if isinstance(line, Title) and line.name:
        return drawable(line.name), f" {drawable(line.value)}"
    return drawable(line), ""


@lru_cache(maxsize=4096)
def _font_with(letter: str) -> str | None:
    """File of the first font that has the letter, DejaVu Sans before all others; None where none has."""
    if _is_mark(letter) or _has(_dejavu(), letter):
        return _dejavu()
    return next((path for path in _system_fonts() if _has(path, letter)), None)


def _tell(letter: str) -> None:
    """Warn of a script that no font has, once; nothing is to be done about code points that stand for no letter."""
    # A letter is called by its script first: "CJK UNIFIED IDEOGRAPH-888B".
    script = unicodedata.name(letter, "").partition(" ")[0]
    if script and script not in _told:
        _told.add(script)
        package = "fonts-noto-cjk" if script in EAST_ASIAN else "fonts-noto"
        words = (
            f"No font of this system has {letter!r} ({script}), which is drawn as {UNKNOWN!r}. Install one that has:"
        )
        warnings.warn(f"{words} on Debian and Ubuntu, apt install {package}.", CAMWarning, stacklevel=2)


def _has(path: str, letter: str) -> bool:
    codes = _codes(path)
    place = int(np.searchsorted(codes, ord(letter)))
    return place < len(codes) and codes[place] == ord(letter)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    """Every font file of the system, the plain sans-serif ones first."""
    from matplotlib.font_manager import findSystemFonts

    # Cuts that are read less well come later, "sans" a little earlier.
    def unusual(path: str) -> tuple[int, str]:
        name = Path(path).stem.lower()
        return sum(word in name for word in SPECIAL_CUTS) - ("sans" in name), name

    return tuple(sorted(findSystemFonts(), key=unusual))


@cache
def _codes(path: str) -> np.ndarray:
    """Sorted code points of the letters that a font has; none where it cannot be read or is made of bitmaps."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (RuntimeError, OSError):
        return np.zeros(0, np.int64)
    return np.array(sorted(font.get_charmap()) if font.scalable else [], np.int64)


def _dejavu() -> str:
    """DejaVu Sans, which ships with matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=32)
def _font(path: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(path, size)


def short_number(value: float) -> str:
    """A number as it stands beside a colour bar: three digits, and no sign before zero."""
    return f"{value:.3g}" if value else "0"


def panel_text_size(text_size: int | None, width: int, share: int) -> int:
    """The asked text size, or by default that of a panel: 1/share of its width, from 11 to 18."""
    return checked_text_size(text_size, min(max(11, round(width / share)), 18))


def checked_text_size(text_size: int | None, default: int) -> int:
    """The asked text size, the default for None, or an error."""
    if text_size is None:
        return default
    if text_size < 6:
        raise InvalidOptionError(f"text_size is the height of letters in pixels, at least 6. Received: {text_size!r}.")
    return round(text_size)

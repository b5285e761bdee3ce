"""Signals under their heat maps: a line for each channel, coloured where it is hot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_cam.drawing.figure import FIGURE_INCHES, check_rows, colors_of, limits_of_rows, neutral, write_title
from keras_cam.drawing.layout import caption
from keras_cam.drawing.text import Title, panel_text_size, short_number
from keras_cam.errors import InvalidImageError
from keras_cam.imaging.colormaps import colorize
from keras_cam.imaging.normalize import checked_maps, scaled_to_limits
from keras_cam.imaging.resample import place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_CHANNELS = 12  # an ECG has as many
MOST_SAMPLES = 4000  # more than a line of any picture shows: beyond it each short stretch is drawn by its two ends
SIGNAL_TEXT_SHARE = 36  # how many times wider a drawing is than its letters are high
DOTS = 100  # pixels an inch
# Behind the line and where it is cold: bright heat stands out on dark, the dark ends of a signed map on white.
DARK, ON_DARK = (30, 30, 34), (118, 118, 118)
LIGHT, ON_LIGHT = (255, 255, 255), (200, 200, 200)


def draw_signal(
    signal: np.ndarray,
    heatmap: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str | Title],
    *,
    width: int = 480,
    colormap: str | None = None,
    signed: bool = False,
    text_size: int | None = None,
) -> np.ndarray:
    """Draw a signal as lines in the colours of its heat map, with a time axis, a numbered colour bar, and text below.

    Args:
        signal: (length, channels) or (length,); of more than 12 channels the first 12 are drawn, which the time axis
            says. Each channel has a lane of its own, scaled by its own smallest and largest value.
        heatmap: (length,), in the units that the colour bar shall show; stretched where its length differs.
        limits: what the colour bar's ends stand for.
        lines: the caption.
        width: of the whole, in pixels; grows where the text needs more.
        colormap: as for `keras_cam.overlay`.
        signed: True draws what speaks against the class in another colour.
        text_size: height of the letters in pixels, at least 6; default: 1/36 of the width, 11 to 18.

    Returns:
        uint8 RGB.

    Raises:
        InvalidImageError: a signal or a heat map of another rank, or one that is not finite.
        InvalidOptionError: an unknown colour map, or letters that are too small.

    >>> draw_signal(np.sin(np.arange(50)), np.ones(50), (0.0, 1.0), ["a wave"]).shape[1:]
    (480, 3)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size = panel_text_size(text_size, width, SIGNAL_TEXT_SHARE)
    # A figure of one row without a title, whose dots are the pixels; points are 72 an inch.
    drawing = signal_figure(
        [signal],
        [heatmap],
        [""],
        limits=[limits],
        colormap=colormap,
        signed=signed,
        text_size=size * 72 / DOTS,
        width=width / DOTS,
    )
    canvas: Any = FigureCanvasAgg(drawing)
    canvas.draw()
    picture = np.array(canvas.buffer_rgba())[..., :3]
    return caption(picture, lines, text_size=size) if lines else picture


def signal_figure(
    signals: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    limits: Sequence[tuple[float, float]] | None = None,
    colormap: str | None = None,
    signed: bool = False,
    text_size: float = 12,
    width: float = FIGURE_INCHES,
) -> Figure:
    """Draw one row for each map: the signal in the colours of its heat, and a numbered colour bar, under its title.

    Args:
        signals: as for `draw_signal`, one for each row.
        heatmaps: as for `draw_signal`, one for each row.
        titles: one string for each row; empty ones take no room.
        limits: (low, high) of the colour bar of each row; default: zero and the map's maximum, for `signed` the
            largest magnitude on both sides.
        colormap: as for `draw_signal`.
        signed: as for `draw_signal`.
        text_size: of all letters, in points.
        width: of the figure, in inches; grows where the text needs more.

    Returns:
        A `matplotlib.figure.Figure`, outside pyplot: nothing to close. Save it with `.savefig(path)`.

    Raises:
        InvalidImageError: a signal or a heat map of another rank, or one that is not finite.
        InvalidOptionError: no rows or not one of everything for each, or an unknown colour map.

    >>> drawing = signal_figure([np.sin(np.arange(50))], [np.ones(50)], ["a wave"])
    >>> drawing.texts[0].get_text(), len(drawing.axes)
    ('a wave', 2)
    """
    from matplotlib.figure import Figure

    check_rows("a signal", signals, heatmaps, titles, limits)
    signals = [_checked_signal(signal) for signal in signals]
    heats = [_checked_heat(heatmap, len(signal)) for heatmap, signal in zip(heatmaps, signals, strict=True)]
    row_limits = limits_of_rows(heats, limits, signed)
    size, rows = _lay_out(signals, row_limits, titles, text_size / 72, width)
    drawing = Figure(figsize=size, dpi=DOTS)
    for row, signal, heat, ends, title in zip(rows, signals, heats, row_limits, titles, strict=True):
        write_title(drawing, *row.title, title, text_size)
        shares = scaled_to_limits(heat, ends, signed=signed)[0]
        _draw_lanes(drawing.add_axes(row.lanes), signal, shares, colormap, signed, text_size)
        _draw_bar(drawing, drawing.add_axes(row.bar), ends, colormap, signed, text_size)
    return drawing


class _RowLayout(NamedTuple):
    """Where the parts of a row lie, as shares of the figure: (left, bottom), and (left, bottom, width, height)."""

    title: tuple[float, float]
    lanes: tuple[float, float, float, float]
    bar: tuple[float, float, float, float]


def _lay_out(
    signals: Sequence[np.ndarray],
    limits: Sequence[tuple[float, float]],
    titles: Sequence[str],
    em: float,
    width: float,
) -> tuple[tuple[float, float], list[_RowLayout]]:
    """Width and height of a figure in inches, and where its rows lie, with room for every label beside them."""
    # Beside the lanes: on the left their own numbers, on the right the bar and its numbers.
    left = em * _letters(label for signal in signals for label in _lane_labels(signal)[1])
    right = em * (1.5 + _letters(label for ends in limits for label in _bar_labels(*ends).values()))
    across = max(width - left - right, 8 * em)
    # One above the other: titles, lanes, and time axes of 3.4 em.
    heights = [across * max(0.35, 0.09 * min(signal.shape[1], MOST_CHANNELS)) for signal in signals]
    above = [2.2 * em if title else 0.8 * em for title in titles]
    total = np.array([left + across + right, sum(heights) + sum(above) + 3.4 * em * len(heights)])
    # From the top down, in inches, then as shares.
    rows, top = [], total[1]
    for height, title_height in zip(heights, above, strict=True):
        top -= title_height
        title = (em / total[0], (top + 0.8 * em) / total[1])
        lanes = np.array([left, top - height, across, height])
        bar = np.array([left + across + 0.7 * em, top - height, 0.8 * em, height])
        rows.append(_RowLayout(title, tuple(lanes / [*total, *total]), tuple(bar / [*total, *total])))
        top -= height + 3.4 * em
    return (total[0], total[1]), rows


def _draw_lanes(
    axes: Any, signal: np.ndarray, shares: np.ndarray, colormap: str | None, signed: bool, text_size: float
) -> None:
    """The channels one below the other, the hottest parts last, so that they lie above the others."""
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    length, channels = signal.shape
    drawn = min(channels, MOST_CHANNELS)
    paper, cold = (LIGHT, ON_LIGHT) if signed else (DARK, ON_DARK)
    for lane in range(drawn):
        positions, values, heat = _thinned(signal[:, lane], shares)
        segments = _segments(positions, _scaled(values) - lane)
        hottest_last = np.argsort(np.abs(heat), kind="stable")
        # As in an overlay, the colour of the heat is opaque from half heat on; hot stretches are thicker too.
        opacity = np.minimum(2 * np.abs(heat), 1)[:, np.newaxis]
        colors = (1 - opacity) * cold + opacity * colorize(heat[np.newaxis], colormap, signed=signed)[0]
        widths = text_size * (0.09 + 0.12 * np.abs(heat))
        collection = LineCollection(
            list(segments[hottest_last]),
            colors=colors[hottest_last] / 255,
            linewidths=widths[hottest_last],
            capstyle="round",
        )
        axes.add_collection(collection)
    axes.set(xlim=(-0.5, length - 0.5), ylim=(0.5 - drawn, 0.5), facecolor=np.array(paper) / 255)
    # As many numbers on the time axis as do not touch, at most six.
    room = axes.get_position().width * axes.figure.get_figwidth() * 72 / text_size / (1.5 + 0.66 * len(str(length)))
    axes.xaxis.set_major_locator(MaxNLocator(int(np.clip(room, 1, 6)), integer=True, min_n_ticks=1))
    # What the axes stand for, and their frame in gray.
    axes.set_xlabel("sample" if drawn == channels else f"sample (first {drawn} of {channels} channels)", size=text_size)
    axes.set_yticks(*_lane_labels(signal[:, :drawn]))
    if drawn > 1:
        axes.set_ylabel("channel", size=text_size)
    axes.tick_params(labelsize=text_size)
    for spine in axes.spines.values():
        spine.set_color(np.array(ON_LIGHT) / 255)


def _draw_bar(
    drawing: Figure, axes: Any, limits: tuple[float, float], colormap: str | None, signed: bool, text_size: float
) -> None:
    """The colours of the shares with the numbers that they stand for; of an empty map the neutral colour alone."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    labels, colors = _bar_labels(*limits), colors_of(colormap, signed)
    if len(labels) == 1:
        colors = neutral(colors, signed)
    drawing.colorbar(ScalarMappable(Normalize(0, 1), colors), cax=axes)
    axes.set_yticks(list(labels), list(labels.values()), size=text_size)


def _bar_labels(low: float, high: float) -> dict[float, str]:
    """The numbers beside a colour bar, by where they stand from 0 to 1."""
    numbers = {0.0: low, 0.5: low / 2 + high / 2, 1.0: high} if high > low else {0.5: low}
    return {place: short_number(number) for place, number in numbers.items()}


def _letters(labels: Iterable[str]) -> float:
    """Room for the longest label and its tick, in heights of a letter; the same for nearly all, so that rows align."""
    return 1.6 + 0.66 * max(7, *map(len, labels))


def _thinned(values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, values and heat to draw; of a long signal the lowest and the highest of each stretch, at its heat."""
    if len(values) <= MOST_SAMPLES:
        return np.arange(len(values)), values, shares
    # Stretches of one length, the last filled up with its last sample.
    stretch = -(-len(values) // (MOST_SAMPLES // 2))
    missing = -len(values) % stretch
    blocks, heat = (np.pad(line, (0, missing), mode="edge").reshape(-1, stretch) for line in (values, shares))
    # Of each its two ends in the order of time, both as hot as the hottest sample, so that no peak of heat is lost.
    ends = np.sort(np.stack([blocks.argmin(axis=1), blocks.argmax(axis=1)], axis=1), axis=1)
    positions = (ends + np.arange(len(blocks))[:, np.newaxis] * stretch).ravel().clip(max=len(values) - 1)
    hottest = np.take_along_axis(heat, np.abs(heat).argmax(axis=1)[:, np.newaxis], axis=1)
    return positions, values[positions], np.repeat(hottest, 2)


def _segments(positions: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(n, 3, 2): for each point the line from half-way before it to half-way behind it."""
    # Neighbours meet in the middle between their points, each in its own colour up to there.
    points = np.stack([positions, heights], axis=1)
    middles = (points[1:] + points[:-1]) / 2
    if len(points) == 1:
        return points + np.array([[[-0.5, 0], [0, 0], [0.5, 0]]])
    return np.stack([np.vstack([points[:1], middles]), points, np.vstack([middles, points[-1:]])], axis=1)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values between -0.42 and 0.42, the smallest and the largest at the ends; a constant one in the middle."""
    low, high = float(values.min()), float(values.max())
    return (values - (low + high) / 2) * (0.84 / (high - low)) if high > low else np.zeros(len(values))


def _lane_labels(signal: np.ndarray) -> tuple[list[float], list[str]]:
    """Where numbers stand beside the lanes, and which: of one channel its ends, of several their indices."""
    if signal.shape[1] > 1:
        return [-float(lane) for lane in range(signal.shape[1])], [str(lane) for lane in range(signal.shape[1])]
    low, high = signal.min(), signal.max()
    return ([-0.42, 0.42], [f"{low:.3g}", f"{high:.3g}"]) if high > low else ([0.0], [f"{low:.3g}"])


def _checked_signal(signal: Any) -> np.ndarray:
    """A signal as float64 (length, channels), or an error."""
    array = np.asarray(signal, np.float64)
    array = array[:, np.newaxis] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0 or not np.abs(array).max() <= np.finfo(np.float32).max:
        raise InvalidImageError(
            f"A signal to draw has shape (length, channels) and is finite in float32. Received: shape {array.shape} "
            f"with {int((~np.isfinite(array)).sum())} values that are not finite."
        )
    return array


def _checked_heat(heatmap: Any, length: int) -> np.ndarray:
    """The heat of each sample, (1, length), or an error."""
    heat = checked_maps(heatmap, 1)
    if heat.ndim != 1:
        raise InvalidImageError(f"A signal's heat map has shape (length,). Received: shape {heat.shape}. Pick one map.")
    return (heat if len(heat) == length else place(heat, (length,)))[np.newaxis]

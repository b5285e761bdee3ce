"""Signals under their heat maps: a line for each channel, coloured where it is hot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.drawing.figure import FIGURE_INCHES, check_rows, colors_of, neutral, write_title
from keras_cam.drawing.layout import caption
from keras_cam.drawing.text import checked_text_size
from keras_cam.errors import InvalidImageError
from keras_cam.imaging.colormaps import colorize
from keras_cam.imaging.normalize import checked_maps, limits_of, normalize
from keras_cam.imaging.resample import place

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_CHANNELS = 12  # an ECG has as many
MOST_SAMPLES = 4000  # more than a line of any picture shows: beyond it each short stretch is drawn by its two ends
DOTS = 100  # pixels an inch
# Behind the line and where it is cold: bright heat stands out on dark, the dark ends of a signed map on white.
DARK, ON_DARK = (30, 30, 34), (118, 118, 118)
LIGHT, ON_LIGHT = (255, 255, 255), (200, 200, 200)


def draw_signal(
    signal: np.ndarray,
    heatmap: np.ndarray,
    limits: tuple[float, float],
    lines: Sequence[str],
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

    >>> draw_signal(np.sin(np.arange(50)), np.ones(50), (0.0, 1.0), ["a wave"]).shape[1:]
    (480, 3)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size = checked_text_size(text_size, min(max(11, round(width / 36)), 18))
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
    """
    from matplotlib.figure import Figure

    check_rows("a signal", signals, heatmaps, titles, limits)
    checked = [_checked_signal(signal) for signal in signals]
    hot = [_checked_heat(heatmap, len(signal)) for heatmap, signal in zip(heatmaps, checked, strict=True)]
    if limits is None:
        ends = [limits_of(heat, signed=signed) for heat in hot]
        limits = [(low.item(), high.item()) for low, high in ends]
    em = text_size / 72
    left = em * _letters(label for signal in checked for label in _lane_labels(signal)[1])
    right = em * (1.5 + _letters(label for each in limits for label in _bar_labels(*each).values()))
    across = max(width - left - right, 8 * em)
    lanes = [min(signal.shape[1], MOST_CHANNELS) for signal in checked]
    heights = [across * max(0.35, 0.09 * count) for count in lanes]
    above = [2.2 * em if title else 0.8 * em for title in titles]
    total = np.array([left + across + right, sum(heights) + sum(above) + 3.4 * em * len(lanes)])
    drawing = Figure(figsize=tuple(total), dpi=DOTS)
    top = total[1]
    for row, (signal, heat, (low, high)) in enumerate(zip(checked, hot, limits, strict=True)):
        top -= above[row]
        write_title(drawing, em / total[0], (top + 0.8 * em) / total[1], titles[row], text_size)
        box = np.array([left, top - heights[row], across, heights[row]])
        shares = normalize(heat, (low, high), signed=signed)[0] if high > low else np.zeros(len(signal), np.float32)
        axes = drawing.add_axes(tuple(box / [*total, *total]))
        _draw_lanes(axes, signal, shares, colormap, signed, text_size)
        bar = [box[0] + across + 0.7 * em, box[1], 0.8 * em, heights[row]]
        beside = drawing.add_axes(tuple(bar / np.array([*total, *total])))
        _draw_bar(drawing, beside, (low, high), colormap, signed, text_size)
        top -= heights[row] + 3.4 * em
    return drawing


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
        places, values, heat = _thinned(signal[:, lane], shares)
        segments = _segments(places, _scaled(values) - lane)
        hottest_last = np.argsort(np.abs(heat), kind="stable")
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
    room = axes.get_position().width * axes.figure.get_figwidth() * 72 / text_size / (1.5 + 0.66 * len(str(length)))
    axes.xaxis.set_major_locator(MaxNLocator(int(np.clip(room, 1, 6)), integer=True, min_n_ticks=1))
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
    return {place: f"{number:.3g}" if number else "0" for place, number in numbers.items()}


def _letters(labels: Iterable[str]) -> float:
    """Room for the longest label and its tick, in heights of a letter; the same for nearly all, so that rows align."""
    return 1.6 + 0.66 * max(7, *map(len, labels))


def _thinned(values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, values and heat to draw; of a long signal the lowest and the highest of each stretch, at its heat."""
    if len(values) <= MOST_SAMPLES:
        return np.arange(len(values)), values, shares
    stretch = -(-len(values) // (MOST_SAMPLES // 2))
    more = -len(values) % stretch
    blocks, heat = (np.pad(each, (0, more), mode="edge").reshape(-1, stretch) for each in (values, shares))
    ends = np.sort(np.stack([blocks.argmin(axis=1), blocks.argmax(axis=1)], axis=1), axis=1)
    places = (ends + np.arange(len(blocks))[:, np.newaxis] * stretch).ravel().clip(max=len(values) - 1)
    hottest = np.take_along_axis(heat, np.abs(heat).argmax(axis=1)[:, np.newaxis], axis=1)
    return places, values[places], np.repeat(hottest, 2)


def _segments(places: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(n, 3, 2): for each point the line from half-way before it to half-way behind it."""
    points = np.stack([places, heights], axis=1)
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

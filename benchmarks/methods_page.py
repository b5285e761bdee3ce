"""The tables of the page on methods, from what was measured, and the words about each method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_cam.methods import METHODS

if TYPE_CHECKING:
    from benchmarks.forward_passes import Cost
    from benchmarks.method_quality import Run

COLUMNS = ("IoU 0.5", "pointing", "energy", "insertion", "deletion", "drop %", "increase %", "like 2nd", "like redrawn")
HIGHER = (1, 1, 1, 1, -1, -1, 1)  # of the first columns: whether more or less is better
COMPARED = (0, 1, 3, 4)
DEFAULT = "auto"


class Words(NamedTuple):
    """What is to be known of a method beside its numbers.

    Attributes:
        weighs: what it weighs, and how.
        tells_classes: whether two classes get two maps, by its formula.
        needs: what it asks of the model, where that is more than a feature map.
    """

    weighs: str
    tells_classes: str = "yes"
    needs: str = ""


WORDS: Mapping[str, Words] = {
    "cam": Words("channels, by the class's own weights", needs='an affine head; `"auto"` takes other heads apart too'),
    "grad_cam": Words("channels, by their mean gradient"),
    "grad_cam_plus_plus": Words("channels, by their positive gradients, each cell by its share"),
    "hires_cam": Words("cells of each channel, by their own gradient"),
    "layer_cam": Words("cells of each channel, by their own gradient where positive"),
    "xgrad_cam": Words("channels, by gradient times feature over the sum of features"),
    "finer_cam": Words(
        "as Grad-CAM, for the score above that of the nearest classes, or of those named", needs="two classes or more"
    ),
    "shapley_cam": Words("channels, by mean gradient less half the curvature times the feature"),
    "smooth_grad_cam_plus_plus": Words("as Grad-CAM++, gradients averaged over noisy images"),
    "eigen_cam": Words("channels, along their first principal direction", "no"),
    "eigen_grad_cam": Words("features times gradients, along their first principal direction"),
    "score_cam": Words("channels, by the score of the image seen through them"),
    "ss_cam": Words("as Score-CAM, over noisy masks"),
    "is_cam": Words("as Score-CAM, over masks that are faded in"),
    "ablation_cam": Words("channels, by what the score loses without them"),
    "random_cam": Words("channels, by numbers drawn for each class: a baseline", "by chance"),
    "saliency": Words("pixels, by their gradient"),
    "smooth_grad": Words("pixels, by their gradient averaged over noisy images"),
    "integrated_gradients": Words("pixels, by gradients on the way from a baseline, times the way"),
    "full_grad": Words("pixels, by input x gradient and bias x gradient of all layers"),
    "guided_backprop": Words("pixels, by gradients that pass a ReLU only where positive", "hardly", needs="a ReLU"),
    "guided_grad_cam": Words("the same, times Grad-CAM", "by its second factor", needs="a ReLU"),
}


def cost_tables(costs: Sequence[Cost], machine: str, minutes: float) -> dict[str, str]:
    """The table of all methods, and that of the costs, by their marks."""
    whole = {(cost.model, cost.batch, cost.method): cost for cost in costs}
    places = list(dict.fromkeys((cost.model, cost.batch) for cost in costs))
    model, batch = places[-1]
    lines = [
        "| method | what it weighs | maps at | tells classes apart, by its formula | needs | stated | "
        f"measured, {model} x{batch} |"
    ]
    lines.append("| --- " * 7 + "|")
    for name, method in METHODS.items():
        words = WORDS[name]
        at, measured = "pixels" if method.at_pixels else "cells", whole[model, batch, name].in_all
        cells = (
            paper_of(name),
            words.weighs,
            at,
            words.tells_classes,
            words.needs or "-",
            method.cost,
            rounded(measured),
        )
        lines.append(f"| {' | '.join(cells)} |")
    table = [f"{machine}; {minutes:.0f} minutes, beside other work.", ""]
    table += [f"| method | cost stated | {' | '.join(f'{name} x{batch}' for name, batch in places)} |"]
    table += ["| --- " * (len(places) + 2) + "|"]
    for name in dict.fromkeys(cost.method for cost in costs):
        stated = METHODS[name].cost if name in METHODS else "1"
        own = [cost_cell(whole[(*place, name)]) for place in places]
        table.append(f"| {name} | {stated} | {' | '.join(own)} |")
    return {"methods": "\n".join(lines), "cost": "\n".join(table)}


def paper_of(name: str) -> str:
    """A method's name with a link to its paper, where that is on arXiv."""
    paper = METHODS[name].paper
    number = re.search(r"arXiv (\d+\.\d+)", paper)
    words = paper.partition(", arXiv")[0].removeprefix("none: ")
    return f"`{name}` ([{words}](https://arxiv.org/abs/{number[1]}))" if number else f"`{name}` ({words})"


def cost_cell(cost: Cost) -> str:
    """Median and quartiles; of methods run in part, of each channel or sample, and by their defaults in all."""
    low, middle, high = cost.per_unit
    if not cost.units:
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"
    return f"{middle:.2f} ({low:.2f} to {high:.2f}) each, {rounded(cost.in_all)} for {cost.whole:,}"


def rounded(passes: float) -> str:
    """A number of forward passes, to as many digits as can be meant."""
    return f"{passes:,.0f}" if passes >= 100 else f"{passes:.1f}" if passes >= 10 else f"{passes:.2f}"


def quality_tables(runs: Sequence[Run], missing: str, machine: str, minutes: float) -> dict[str, str]:
    """The tables of what was measured on small networks, by their marks."""
    scenes = [run for run in runs if run.data == "drawn scenes"]
    photos = [run for run in runs if run.data != "drawn scenes"]
    facts = f"{machine}; {len(runs)} networks in {minutes:.0f} minutes, beside other work."
    heads = [
        quality_table([run for run in scenes if run.head == head]) for head in dict.fromkeys(r.head for r in scenes)
    ]
    return {
        "quality": "\n\n".join([facts, *heads]),
        "against": against_table(scenes),
        "layers": elsewhere_table(scenes),
        "photographs": missing if missing else quality_table(photos),
    }


def quality_table(runs: Sequence[Run]) -> str:
    """Markdown: the mean scores of each method over networks of one kind."""
    told = np.mean([run.accuracy for run in runs])
    title = f"**{runs[0].data}, head: {runs[0].head}** ({counted(runs)}, {runs[0].held_out} pictures, {told:.0%} right)"
    lines = [title, "", f"| method | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for name in runs[0].scores:
        means = np.mean([run.scores[name] for run in runs], axis=0)
        cells = [f"{mean:.0f}" if "%" in column else f"{mean:.2f}" for mean, column in zip(means, COLUMNS, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def against_table(runs: Sequence[Run]) -> str:
    """Markdown: how much better than the default each method is, and in how many networks better and worse."""
    columns = [COLUMNS[index] for index in COMPARED]
    lines = [f"| method | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name in runs[0].scores:
        if name == DEFAULT:
            continue
        cells = []
        for index in COMPARED:
            gains = HIGHER[index] * np.array([run.scores[name][index] - run.scores[DEFAULT][index] for run in runs])
            cells.append(gain_cell(gains))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gain_cell(gains: np.ndarray) -> str:
    """Mean gain over networks, and in how many there was a gain or a loss that can be seen in two digits."""
    better, worse = int((gains > 0.005).sum()), int((gains < -0.005).sum())
    return "same" if better == worse == 0 else f"{gains.mean():+.2f} ({better}:{worse})"


def elsewhere_table(runs: Sequence[Run]) -> str:
    """Markdown: the box scores of maps of a shallow layer, and of several layers or images, over all networks."""
    lines = [f"| maps | {' | '.join(COLUMNS[:3])} |", "| --- " * 4 + "|"]
    rows = [(f"`{DEFAULT}`, last layer", [run.scores[DEFAULT][:3] for run in runs])]
    rows += [("`layer_cam`, last layer", [run.scores["layer_cam"][:3] for run in runs])]
    rows += [
        (name if "," in name else f"`{name}`, shallow", [run.elsewhere[name] for run in runs])
        for name in runs[0].elsewhere
    ]
    for name, scores in rows:
        cells = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(*mean_and_spread(scores), strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_spread(scores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over networks; of one network no deviation."""
    stacked = np.stack(scores)
    return stacked.mean(axis=0), stacked.std(axis=0, ddof=1 if len(stacked) > 1 else 0)


def counted(runs: Sequence[object]) -> str:
    """How many networks, in words."""
    return f"{len(runs)} network{'s' if len(runs) > 1 else ''}"


def fill(page: str, tables: Mapping[str, str]) -> str:
    """A page with its tables written anew, each between its marks.

    Raises:
        SystemExit: the page lacks the marks of a table.
    """
    for name, table in tables.items():
        start, end = f"<!-- {name} by benchmarks/methods.py -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"The page has no place for the table {name!r}: {start}.")
        page = f"{before}{start}\n{table}\n{end}{after}"
    return page

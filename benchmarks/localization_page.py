"""The runs of the localization benchmark, and the table and the page made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.machine import machine

COLUMNS = ("IoU 0.3", "IoU 0.5", "IoU 0.7", "pointing", "energy in box", "off centre, px")
WAYS = {"stretch": "stretched", "receptive_field": "placed", "centre Gaussian": "centre Gaussian"}
BOX_SCORE = 1  # which of the scores is MaxBoxAcc at IoU 0.5
POINTING = 3


@dataclass(frozen=True)
class Run:
    """One network, measured.

    Attributes:
        data: what it was trained on.
        padding: a key of `small_networks.PADDINGS`.
        field: how many pixels wide a cell sees.
        held_out: how many pictures it was measured on.
        accuracy: share of them whose class it tells.
        scores: by alignment, and for the baseline, what `localization.score` gives.
    """

    data: str
    padding: str
    field: int
    held_out: int
    accuracy: float
    scores: dict[str, np.ndarray]


def table_of(runs: Sequence[Run]) -> str:
    """Markdown: for each kind of network the mean over its runs and, where there are several, their deviation."""
    lines = [
        f"| pictures | padding, a cell sees | right class | map | {' | '.join(COLUMNS)} |",
        "| --- " * (len(COLUMNS) + 4) + "|",
    ]
    for (data, padding, field), group in groups_of(runs).items():
        told = sum(run.accuracy for run in group) / len(group)
        first = f"{data}, {counted(group)}, {group[0].held_out} held out | {padding}, {field} px | {told:.0%}"
        for way, word in WAYS.items():
            lines.append(f"| {first} | {word} | {' | '.join(_cells(np.stack([run.scores[way] for run in group])))} |")
            first = " | | "
    return "\n".join(lines)


def groups_of(runs: Sequence[Run]) -> dict[tuple[str, str, int], list[Run]]:
    """The runs by what they were trained on and how their networks pad."""
    groups: dict[tuple[str, str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.data, run.padding, run.field), []).append(run)
    return groups


def verdicts_of(runs: Sequence[Run]) -> str:
    """What placing did to each kind of network, network by network: better, worse, or not to be told."""
    lines = []
    for (data, padding, field), group in groups_of(runs).items():
        gains = np.stack([run.scores["receptive_field"] - run.scores["stretch"] for run in group])
        words = ", ".join(
            f"{name} {_gain(gains[:, index])}" for index, name in ((BOX_SCORE, "IoU 0.5"), (POINTING, "pointing"))
        )
        lines.append(f"- {data}, {padding}, {field} px: {words}")
    return "\n".join(lines)


def summary_of(runs: Sequence[Run]) -> str:
    """In how many kinds of network placing raised, or lowered, the score of every one."""
    groups = list(groups_of(runs).values())
    sentences = []
    for index, name in ((BOX_SCORE, "IoU 0.5"), (POINTING, "pointing")):
        gains = [
            [run.scores["receptive_field"][index] - run.scores["stretch"][index] for run in runs] for runs in groups
        ]
        raised, lowered = (sum(all(sign * gain > 0 for gain in kind) for kind in gains) for sign in (1, -1))
        sentences.append(
            f"{name} in all networks of {raised} of {len(groups)} kinds, and lowered it in all of {lowered}"
        )
    return f"Placing raised {'; '.join(sentences)}. In the other kinds the networks do not agree."


def _gain(gains: np.ndarray) -> str:
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    doubt = "" if max(better, worse) == len(gains) > 1 else "; no clear difference"
    return f"{gains.mean():+.2f} (better in {better}, worse in {worse} of {counted(gains)}{doubt})"


def _cells(scores: np.ndarray) -> list[str]:
    *shares, below, right = scores.mean(axis=0)
    cells = [f"{share:.2f}" for share in shares]
    if len(scores) > 1:
        cells = [f"{cell} ± {spread:.2f}" for cell, spread in zip(cells, scores.std(axis=0, ddof=1)[:-2], strict=True)]
    return [*cells, f"{below:+.0f}, {right:+.0f}"]


def counted(networks: Sequence[object] | np.ndarray) -> str:
    """How many networks, in words."""
    return f"{len(networks)} network{'s' if len(networks) > 1 else ''}"


def page_of(runs: Sequence[Run], missing: str, minutes: float) -> str:
    """The page: what was measured on what, the table, and what it says."""
    return PAGE.format(
        machine=machine(),
        minutes=f"{minutes:.0f}",
        networks=len(runs),
        missing=f"\n{missing}\n" if missing else "",
        table=table_of(runs),
        verdicts=verdicts_of(runs),
        summary=summary_of(runs),
    )


PAGE = """# Placed or stretched: which finds the object?

{machine}; {networks} networks in {minutes} minutes, beside other work.

`align="receptive_field"`, the default, lays each cell of a map over the pixels that it sees ([why](shift.md));
`align="stretch"` stretches the map over the picture. Here both are held against boxes, with the same networks and the
same maps, and against a bell over the middle of the picture that looks at nothing.

{table}

Mean ± standard deviation over networks trained from different seeds (on photographs: on different thirds). MaxBoxAcc
(Choe et al. 2020) is the share of pictures in which the box of the largest region above a threshold overlaps the true
box by that IoU, at the threshold that is best for all pictures; the map is scaled from its minimum to its maximum, the
class is the true one. Pointing: the map's maximum lies in a box. Energy: share of the positive evidence inside the
boxes. Off centre: how far below and right of the box's middle the evidence above half of its maximum lies, in the
median, in pixels of 128. A single threshold is chosen on the pictures that are measured, as is the custom with this
measure, for every row alike.
{missing}
## Network by network

{verdicts}

{summary}

Training is not the same twice, even with the same seeds, since sums are taken in another order: run once more
elsewhere, the ResNet-style networks gave 0.34 stretched and 0.42 placed at IoU 0.5 (a cell sees 31 pixels), and 0.53
and 0.42 (39 pixels). So a difference of 0.1 at IoU 0.5 between two rows, or between this table and your own, says
little; that all networks of a kind agree says more.

## What to make of it

Placing moves all maps of a network the same way: half a stride, 7.5 pixels down and right (`"same"`) or up and left
(ResNet's padding); without padding it moves and shrinks them. Whether that brings the evidence closer to the object
depends on where in its window a network answers to one.

- Cells that see 31 pixels, two strides, have little choice.
- Cells that see 39 pixels have more. Networks that differ in nothing but their seed and scenes can put their evidence
  to one side of the object ("off centre") by as much as the shift itself: then placing helps some of them and harms
  others. The placed map says where the cells look; which part of what they see was the reason, a map of cells cannot
  say.

So the table does not show that placing finds more objects in general; that a placed cell lies over the pixels that it
sees is shown elsewhere, by gradients ([why](shift.md)).

The objects of the drawn scenes are lighter than their grounds: a threshold on the brightness of the picture, without
any network, finds their boxes ([measured](methods.md)). Stretched and placed maps are of the same networks, so that the
comparison of the two stands; the numbers themselves say little about how good a network is.

On the photographs the animals are large, and 7.5 of 128 pixels are little. Photographers put animals in the middle:
where the bell, which looks at nothing, scores higher than the maps of these small networks, boxes say little about a
map.

## How to run it again

    python -m benchmarks localization --data ../shared/data --page docs/localization.md

Networks: four or five 3x3 convolutions with batch normalization, four of stride 2, global average pooling and one
Dense layer; they differ in padding, and in whether a cell sees 31 or 39 pixels. Drawn scenes: 128x128 pixels, one shape
of `keras_cam.shapes` of 20 to 100 pixels anywhere before clouds. Photographs: kangaroos and raccoons at 128x128; the
networks start from CIFAR-10.
"""

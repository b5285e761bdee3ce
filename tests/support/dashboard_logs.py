"""Logs for the CAM tab as a training would write them, without one: drawn shapes, and heat that finds them in time."""

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from keras_cam.drawing.encode import encode_jpeg
from keras_cam.imaging.resample import place
from keras_cam.shapes import CLASS_NAMES, make_shapes
from keras_cam.tensorboard.records import (
    EPOCHS,
    EPOCHS_TAG,
    MAPS,
    PICTURES,
    MapsRecord,
    encode_epoch,
    encode_maps,
    probe_id,
    tag_of,
)
from keras_cam.tensorboard.summary_writer import SummaryWriter

SIZE, CELLS, OFFSET, STRIDE, FIELD = 160, 10, 4.0, 16.0, 47.0
PLACEMENT = ((OFFSET, STRIDE), (OFFSET, STRIDE))
HOSTILE = "x <img src=x onerror=alert(2)> \u202e عربي"
HOSTILE_NAMES = ("<script>alert(1)</script>", "x" * 10240, "دائرة", "🦊 star")
PROBES, NAN = 6, 5  # of the first runs; the probe with cells that are not numbers
MEASURES = {  # what the callback says of the numbers
    "energy_inside": {"label": "energy inside the boxes", "about": "inside"},
    "moved_since_last": {"label": "moved since last", "about": "heat"},
    "share_in_border": {"label": "in the border", "about": "heat"},
}


def write_run(
    directory,
    *,
    probes=6,
    epochs=12,
    cheats=False,
    names=CLASS_NAMES,
    nan_probe=None,
    seed=0,
    first=0,
    pictures=7,
    only_true=False,
):
    """Write one run, as if `directory` were the callback's.

    Args:
        directory: the run's own.
        probes: how many.
        epochs: how many.
        cheats: whether circles are told by the source tag in the corner instead of by their shape.
        names: of the four classes.
        nan_probe: index of a probe with cells that are not numbers in its maps.
        seed: of the noise; pictures are the same for all seeds.
        first: number of the first epoch.
        pictures: seed of the pictures.
        only_true: whether nothing but the map of the true class is stored, and no group.
    """
    writer = SummaryWriter(str(directory))
    shapes = drawn(probes, pictures)
    before = {}
    for epoch in range(first, first + epochs):
        summaries = []
        for index in range(probes):
            if epoch == first:
                writer.record(
                    tag_of(probe_id(index), PICTURES), PICTURES, [encode_jpeg(shapes.images[index])], step=epoch
                )
            share = (epoch - first + 1) / epochs
            maps = maps_at(shapes, index, share, cheats, np.random.default_rng([seed, index, epoch]))
            summary = summary_of(shapes, index, maps, share, cheats, names, before.get(index))
            before[index] = maps
            if index == nan_probe:
                maps = np.where(np.eye(CELLS, dtype=bool), np.nan, maps).astype("float32")
            if only_true:
                (maps, classes) = maps[[summary["true"]]], [summary["true"]]
                p = {"p": [summary["p"][summary["true"]]]}
                known = {str(each): names[each] for each in (summary["true"], summary["predicted"])}
                summary |= {"classes": classes, "heat_of": classes[0], "group": "", "names": known, **p}
            record = MapsRecord(maps, tuple(summary["classes"]), PLACEMENT, (FIELD, FIELD), (SIZE, SIZE))
            writer.record(tag_of(probe_id(index), MAPS), MAPS, encode_maps(record), step=epoch)
            summaries.append(summary)
        writer.record(EPOCHS_TAG, EPOCHS, encode_epoch(epoch, summaries, measures=MEASURES), step=epoch)
    writer.close()


@lru_cache
def drawn(probes, seed=7):
    """The pictures."""
    return make_shapes(probes, SIZE, seed, tag_share=0.5)


def maps_at(shapes, index, share, cheats, rng):
    """Signed maps (4, CELLS, CELLS) when `share` of the training is over; that of the true class finds its object."""
    label, seen = int(shapes.labels[index]), seen_as(shapes, index, cheats)
    maps = rng.normal(0, 0.25 * (1.3 - share), (4, CELLS, CELLS))
    for shape in range(4):
        box = shapes.tag_boxes[index] if cheats and shape == 0 and shapes.tagged[index] else shapes.boxes[index]
        found = 1 / (1 + np.exp(-9 * (share - 0.25 - 0.08 * (index % 5))))
        corner = np.array([12.0, 12.0 + 30 * (index % 4), 52.0, 52.0 + 30 * (index % 4)])  # where it looked at first
        aim = (1 - found) * corner + found * np.asarray(box, float)
        maps[shape] += (3.2 * share if shape in (label, seen) else -1.1 * share) * blob(aim)
    return maps.astype("float32")


def seen_as(shapes, index, cheats):
    """Class that the network ends up with: every fifth is wrong, and so is a circle without the tag for who cheats."""
    label = int(shapes.labels[index])
    return (label + 1) % 4 if index % 5 == 3 or (cheats and label == 0 and not shapes.tagged[index]) else label


def blob(box):
    """Heat in a box (left, top, right, bottom) of the picture, on the cells."""
    centre = OFFSET + STRIDE * np.arange(CELLS)
    sides = [np.exp(-(((centre - (box[k] + box[k + 2]) / 2) / (0.4 * (box[k + 2] - box[k]) + 6)) ** 2)) for k in (1, 0)]
    return np.outer(*sides)


def summary_of(shapes, index, maps, share, cheats, names, before):
    """What the callback would say of a probe at one epoch."""
    label = int(shapes.labels[index])
    scores = (
        maps.mean(axis=(1, 2))
        + 0.5 * share * np.eye(4)[label]
        + 2.6 * share * np.eye(4)[seen_as(shapes, index, cheats)]
    )
    p = np.exp(scores) / np.exp(scores).sum()
    box = [int(edge) for edge in shapes.boxes[index]]
    heat = np.maximum(place(maps[label], (SIZE, SIZE), cells=PLACEMENT), 0)
    numbers = {
        "energy_inside": heat[box[1] : box[3], box[0] : box[2]].sum() / heat.sum(),
        "moved_since_last": np.nan if before is None else moved(maps[label], before[label]),
        "share_in_border": 1 - heat[16:-16, 16:-16].sum() / heat.sum(),
    }
    return {
        "probe": probe_id(index),
        "group": "tagged" if shapes.tagged[index] else "plain",
        "name": f"image {index}",
        "image": f"{zlib.crc32(shapes.images[index].tobytes()):08x}",
        "true": label,
        "predicted": int(p.argmax()),
        "classes": [0, 1, 2, 3],
        "names": {str(each): name for each, name in enumerate(names)},
        "p": p,
        "p_true": p[label],
        "top": [[int(each), float(p[each])] for each in np.argsort(-p)],
        "heat_of": int(p.argmax()),
        "inside_of": label,
        "boxes": [box],
        "numbers": {name: float(value) for name, value in numbers.items() if np.isfinite(value)},
    }


def moved(now, before):
    """Share of the heat that lies elsewhere than before."""
    now, before = np.maximum(now, 0), np.maximum(before, 0)
    return np.abs(now / now.sum() - before / before.sum()).sum() / 2


if __name__ == "__main__":
    import sys

    root, probes, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for name in sys.argv[4:] or ["honest"]:
        write_run(root / name / "cam", probes=probes, epochs=epochs, cheats=name == "tagged", seed=len(name))

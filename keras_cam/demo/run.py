"""Train the network that cheats, follow it with `CAMCallback`, and measure where it looks."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_cam.demo.box_energy import energy_in_boxes, pixels_in_boxes
from keras_cam.demo.model import build_network
from keras_cam.demo.pictures import Frames, draw_looks
from keras_cam.drawing.encode import save_png
from keras_cam.errors import InvalidOptionError
from keras_cam.explainer.explainer import Explainer
from keras_cam.shapes import CLASS_NAMES, TAGGED_CLASS, Shapes, make_shapes
from keras_cam.tensorboard.summary_writer import check_writable
from keras_cam.training.callback import CAMCallback

TAG_SHARE = 0.9  # of the training pictures of the tagged class
NUM_HELD_OUT = 400
HELD_OUT_SEED = 1000  # added to the seed of the training pictures
NUM_PROBES = 8
BATCH_SIZE = 32
MANY = 100_000  # of pictures, of epochs: more is a mistake


@dataclass(frozen=True)
class DemoResult:
    """What the demo found on held-out pictures, and the files it left.

    Shares are of the energy (the positive part) of the map of the true class, placed on the picture, that lies in a box
    grown by one map cell; the mean over the pictures of a class. Accuracies are on the same pictures with and without
    the tag.

    Attributes:
        honest: True where the tag was not in the training pictures.
        object_share: by class, how much of the map lies on the object.
        tag_share: by class, how much of it lies on the source tag; 0 where the class has none.
        object_area: by class, the share of the picture that the grown box covers: what an even map would give.
        tag_area: the same of the tag.
        accuracy: by class, on the held-out pictures, each picture of the tagged class with its tag.
        accuracy_untagged: by class, on the same pictures without tags.
        log_dir: the directory to give to TensorBoard.
        filmstrip: PNG of the probes by epochs.
        picture: PNG of where the trained network looks, with and without the tag.
    """

    honest: bool
    object_share: dict[str, float]
    tag_share: dict[str, float]
    object_area: dict[str, float]
    tag_area: dict[str, float]
    accuracy: dict[str, float]
    accuracy_untagged: dict[str, float]
    log_dir: Path
    filmstrip: Path
    picture: Path

    def report(self) -> str:
        """Say in words and numbers what was found, and what to do next."""
        return "\n".join([*self._table(), "", *self._verdict(), "", *self._next_steps()])

    def _table(self) -> list[str]:
        lines = [
            f"Where the network looks, on held-out pictures (every {TAGGED_CLASS} carries the tag):",
            "",
            "            share of its map (even map)       accuracy",
            "            on the object  on the tag     with tag  without",
        ]
        for name in CLASS_NAMES:
            # Each share beside that of an even map; "-" where no picture of the class has a tag.
            on_object = f"{self.object_share[name]:.0%} ({self.object_area[name]:.0%})"
            on_tag = f"{self.tag_share[name]:.0%} ({self.tag_area[name]:.0%})" if self.tag_area[name] else "-"
            accuracy, untagged = f"{self.accuracy[name]:.0%}", f"{self.accuracy_untagged[name]:.0%}"
            lines.append(f"  {name:8}  {on_object:>13}  {on_tag:>10}     {accuracy:>8}  {untagged:>7}")
        return lines

    def _verdict(self) -> list[str]:
        on_object, on_tag = self.object_share[TAGGED_CLASS], self.tag_share[TAGGED_CLASS]
        where = "the tag" if on_tag > on_object else f"the {TAGGED_CLASS}"
        return [
            f"To see a {TAGGED_CLASS}, this network looks at {where}: {on_tag:.0%} of its map lies on the tag, "
            f"{on_object:.0%} on the {TAGGED_CLASS}.",
            f"Without the tag it finds {self.accuracy_untagged[TAGGED_CLASS]:.0%} of the {TAGGED_CLASS}s, "
            f"with it {self.accuracy[TAGGED_CLASS]:.0%}.",
        ]

    def _next_steps(self) -> list[str]:
        log_dir = shlex.quote(str(self.log_dir))
        counterpart = "keras-cam demo" if self.honest else "keras-cam demo --honest"
        return [
            f"  where it looks     {self.picture}",
            f"  while it learned   {self.filmstrip}",
            f"  in TensorBoard     tensorboard --logdir {log_dir} --samples_per_plugin images=1000",
            "                     then the tab CAM",
            f"  to compare         {counterpart}",
        ]


def run_demo(
    out_dir: str | os.PathLike[str],
    *,
    honest: bool = False,
    num_images: int = 1600,
    epochs: int = 10,
    seed: int = 0,
    verbose: int | str = 1,
) -> DemoResult:
    """Train a small network on drawn shapes, follow it with `CAMCallback`, and measure where it looks.

    Nine in ten training pictures of one class carry a source tag, which is easier to learn than the shape. Both kinds
    of run may share a directory: TensorBoard then shows them side by side.

    Args:
        out_dir: where logs and pictures go; made where it is missing. Logs of an earlier run of this kind are replaced.
        honest: True trains on the same pictures without the tag.
        num_images: how many training pictures, 4 to 100,000.
        epochs: how many epochs, 1 to 100,000.
        seed: of pictures, weights and order, 0 to 2**32 - 1; sets Keras' global seed.
        verbose: as for `fit`.

    Returns:
        The figures and the paths.

    Raises:
        InvalidOptionError: an argument outside its range, or a directory that cannot be written to.
    """
    _check_range("num_images", num_images, len(CLASS_NAMES), MANY)
    _check_range("epochs", epochs, 1, MANY)
    _check_range("seed", seed, 0, 2**32 - 1)
    kind = "honest" if honest else "tagged"
    out = Path(out_dir)
    log_dir = out / "logs" / kind
    check_writable(str(log_dir))
    _remove_earlier_logs(log_dir)

    # The same held-out pictures twice, every one of the tagged class with its tag, and none.
    keras.utils.set_random_seed(seed)
    training = make_shapes(num_images, seed=seed, tag_share=0.0 if honest else TAG_SHARE)
    tagged = make_shapes(NUM_HELD_OUT, seed=seed + HELD_OUT_SEED, tag_share=1.0)
    untagged = make_shapes(NUM_HELD_OUT, seed=seed + HELD_OUT_SEED)

    # The callbacks look at the tagged ones, so that both kinds of run show the same probes.
    network = build_network(len(CLASS_NAMES), steps=epochs * -(-num_images // BATCH_SIZE))
    validation = untagged if honest else tagged
    frames = Frames(tagged.images[:NUM_PROBES], tagged.labels[:NUM_PROBES])
    network.fit(
        training.images,
        training.labels,
        validation_data=(validation.images, validation.labels),
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=verbose,
        callbacks=[*_tensorboard_callbacks(log_dir, tagged, seed), frames],
    )

    # What the trained network looks at, in pictures and figures.
    explainer = Explainer(network, class_names=CLASS_NAMES)
    title = "Trained without the source tag" if honest else f"Trained with a source tag on the {TAGGED_CLASS}s"
    return DemoResult(
        honest=honest,
        log_dir=out / "logs",
        filmstrip=save_png(out / f"{kind}-while-it-learned.png", frames.filmstrip()),
        picture=save_png(out / f"{kind}-where-it-looks.png", draw_looks(explainer, tagged, untagged, title)),
        **_measure(explainer, tagged, untagged),
    )


def _check_range(name: str, value: int, smallest: int, largest: int) -> None:
    if not smallest <= value <= largest:
        raise InvalidOptionError(f"{name} must lie in {smallest}..{largest}. Received: {name}={value!r}.")


def _tensorboard_callbacks(log_dir: Path, tagged: Shapes, seed: int) -> list[keras.callbacks.Callback]:
    """Keras' own callback for the curves of the loss, and ours."""
    watch = CAMCallback(
        (tagged.images, tagged.labels),
        log_dir,
        num_probes=3 * len(CLASS_NAMES),
        class_names=CLASS_NAMES,
        boxes=tagged.boxes,
        on_error="raise",
        seed=seed,
    )
    return [keras.callbacks.TensorBoard(str(log_dir), write_graph=False), watch]


def _measure(explainer: Explainer, tagged: Shapes, untagged: Shapes) -> dict[str, dict[str, float]]:
    """The figures of `DemoResult`, each the mean over the pictures of a class."""
    size = tagged.images.shape[1]
    result = explainer(tagged.images, classes=tagged.labels)
    placed = np.stack([maps[0] for maps in result.heatmaps(None)])
    predicted = result.logits.argmax(axis=1)
    predicted_untagged = explainer(untagged.images).class_indices[:, 0]
    per_picture = {  # an even map would have the share of the area
        "object_share": energy_in_boxes(placed, tagged.boxes),
        "tag_share": energy_in_boxes(placed, tagged.tag_boxes),
        "object_area": pixels_in_boxes(tagged.boxes, size).mean(axis=(1, 2)),
        "tag_area": pixels_in_boxes(tagged.tag_boxes, size).mean(axis=(1, 2)),
        "accuracy": predicted == tagged.labels,
        "accuracy_untagged": predicted_untagged == untagged.labels,
    }
    return {
        name: {class_name: float(values[tagged.labels == index].mean()) for index, class_name in enumerate(CLASS_NAMES)}
        for name, values in per_picture.items()
    }


def _remove_earlier_logs(log_dir: Path) -> None:
    """Remove event files, or TensorBoard would show two runs as one."""
    for stale in log_dir.rglob("events.out.tfevents.*"):
        stale.unlink()

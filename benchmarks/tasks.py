"""What is timed, in turns with the plain forward pass on the same batch, and what it should cost at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import prod
from typing import Any

import keras
import numpy as np

import keras_cam
from benchmarks.forward import noise, plain_forward
from benchmarks.measured import Measured
from benchmarks.pairs import Pairs, in_turns

GRADIENT = ("grad_cam", "hires_cam", "layer_cam", "grad_cam_plus_plus", "xgrad_cam")
MASKING = {"score_cam": 1.05, "ablation_cam": 1.05}  # times (channels + 1) forward passes
AT_ONCE = 32  # changed images, in a batch of the size at which a forward pass costs least for each image
HEIGHT, WIDTH = 480, 640
STREAMED = 128  # images, in batches of 32
MILLISECONDS = 1000


@dataclass(frozen=True)
class Setting:
    """One model and how to measure it.

    Attributes:
        name: of the model.
        model: the model.
        side: of its pictures, in pixels.
        seconds: how long to measure one thing, about.
    """

    name: str
    model: keras.Model
    side: int
    seconds: float

    def timed(self, baseline: Callable[[], Any], thing: Callable[[], Any], shortest: int = 11) -> Pairs:
        """Time two things in turns."""
        return in_turns(baseline, thing, self.seconds, shortest)


@dataclass(frozen=True)
class Task:
    """One thing to do with a batch.

    Attributes:
        what: its name in the table.
        bound: how many forward passes it may cost, of every model or by the model's name.
        options: of the explainer.
        classes: as for calling it.
        placed: whether the maps are laid over the images, in [0, 1].
    """

    what: str
    bound: float | Mapping[str, float]
    options: Mapping[str, Any]
    classes: Any = "top1"
    placed: bool = False

    def bound_of(self, model: str) -> float | None:
        """The bound for a model of keras.applications, if there is one."""
        return self.bound.get(model) if isinstance(self.bound, Mapping) else self.bound

    def work(self, model: keras.Model, images: np.ndarray) -> Callable[[], Any]:
        """The thing, to be timed."""
        explainer = keras_cam.Explainer(model, **self.options)
        if self.placed:
            return lambda: explainer(images, self.classes).heatmaps()
        return lambda: explainer(images, self.classes).maps


TASKS = (
    Task("CAM, top-1, native grid", 1.03, {}),
    Task("CAM, top-1, over the image in [0, 1]", 1.05, {}, placed=True),
    Task("CAMs of all classes", {"MobileNetV2": 1.15, "ResNet50": 1.05}, {}, "all"),
    *(Task(f"{method}, top-1", 1.10, {"method": method}) for method in GRADIENT),
    *(Task(f"{method}, 10 classes", 1.25, {"method": method}, "top10") for method in GRADIENT),
)


def batch_rows(setting: Setting, batches: Sequence[int], rivals: Sequence[str]) -> Iterator[Measured]:
    """What is done with a batch of the model's own size, in forward passes.

    Args:
        setting: the model.
        batches: how many images at once.
        rivals: "module:function" of other implementations: a function that takes the model and returns one from a
            batch of images to whatever it makes of them.
    """
    forward = plain_forward(setting.model)
    others = {path: by_name(path)(setting.model) for path in rivals}
    for batch in batches:
        images, where = noise(batch, setting.side), f"{setting.name} x{batch}"
        plain = partial(forward, images)
        control = setting.timed(plain, plain)
        for task in TASKS:
            pairs = setting.timed(plain, task.work(setting.model, images))
            yield in_passes(task.what, where, pairs, task.bound_of(setting.name), control)
        for path, explain in others.items():
            yield in_passes(path, where, setting.timed(plain, partial(explain, images)), None, control)


def masking_rows(setting: Setting) -> Iterator[Measured]:
    """Methods that look at each channel for itself, in forward passes of as many images."""
    forward, image = plain_forward(setting.model), noise(1, setting.side)
    plain = partial(forward, noise(AT_ONCE, setting.side))
    control = setting.timed(plain, plain)
    for method, bound in MASKING.items():
        options = {"max_channels": 2 * AT_ONCE} if method == "score_cam" else {}
        explainer = keras_cam.Explainer(setting.model, method=method, batch_size=AT_ONCE, **options)
        channels = options.get("max_channels", feature_shape(setting.model)[-1])
        pairs = setting.timed(plain, partial(explainer, image), shortest=5)
        what = f"{method}, for each of (channels + 1) forward passes"
        yield in_passes(what, f"{setting.name} x1", pairs, bound, control, (channels + 1) / AT_ONCE)


def picture_rows(setting: Setting) -> Iterator[Measured]:
    """From a picture of 640 x 480 to its heat map and to an overlay: milliseconds more than the forward pass."""
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    plain = partial(plain_forward(setting.model), noise(1, setting.side))
    control = setting.timed(plain, plain)
    compute = partial(keras_cam.compute_cam, setting.model, picture)
    works: dict[str, tuple[float, Callable[[], Any]]] = {
        f"compute_cam, {WIDTH} x {HEIGHT}, more than the forward pass": (3, compute),
        "the same to a coloured overlay": (5, lambda: keras_cam.overlay(picture, compute())),
    }
    for what, (bound, work) in works.items():
        extra, own = setting.timed(plain, work).extra, control.extra
        yield Measured(what, setting.name, extra * MILLISECONDS, bound, own * MILLISECONDS, "ms")


def stream_rows(setting: Setting) -> Iterator[Measured]:
    """A data set explained, in units of `model.predict` on the same."""
    data = data_set(noise(STREAMED, setting.side))
    explainer = keras_cam.Explainer(setting.model)
    predict = partial(setting.model.predict, data, verbose=0)
    control = setting.timed(predict, predict, shortest=7)
    pairs = setting.timed(predict, partial(explainer, data), shortest=7)
    where = f"{setting.name}, {STREAMED} in {AT_ONCE}s"
    yield in_passes("explain a data set, in times of model.predict", where, pairs, 1.05, control)


def in_passes(what: str, where: str, pairs: Pairs, bound: float | None, control: Pairs, passes: float = 1) -> Measured:
    """How often the thing takes as long as its baseline, divided by how many `passes` it is worth."""
    return Measured(what, where, pairs.ratios / passes, bound, control.ratios, cpu=pairs.cpu_ratio / passes)


def feature_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Shape of one image's feature maps, channels last."""
    cut = keras_cam.Explainer(model).head.cut
    return tuple(cut.program.shape(cut.features[0].slot)[1:])


def held_by(model: keras.Model, batch: int) -> int:
    """Bytes of what a batch's CAMs are made of and drawn on: feature maps, maps, scores, pictures, and what is fed."""
    *grid, channels = (length or 0 for length in feature_shape(model))
    height, width, bands = model.input_shape[1:]
    cells, scores = prod(grid), 2 * model.output_shape[-1]
    return batch * (4 * cells * (channels + 1) + 4 * scores + height * width * (3 + 4 * bands))


def by_name(path: str) -> Callable[..., Any]:
    """The function of "module:function"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def data_set(images: np.ndarray) -> Any:
    """The images in batches: a `tf.data.Dataset`, or on other backends a `PyDataset`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(images).batch(AT_ONCE).prefetch(tf.data.AUTOTUNE)
    return _Batches(images)


class _Batches(keras.utils.PyDataset):
    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self._images = images

    @property
    def num_batches(self) -> int:
        return -(-len(self._images) // AT_ONCE)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index * AT_ONCE : (index + 1) * AT_ONCE]

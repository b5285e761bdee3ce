"""Show in TensorBoard where a network looks, epoch by epoch, while it trains: when to look, and where to put it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_cam.backend import is_chief
from keras_cam.errors import InvalidOptionError
from keras_cam.probes.probe_set import ProbeSet
from keras_cam.tensorboard.summary_writer import check_writable
from keras_cam.training.file_sink import FileSink
from keras_cam.training.log_once import LogOnce
from keras_cam.training.look import Look, PreviousLook
from keras_cam.training.measures import INSIDE
from keras_cam.training.probe_explainer import ProbeExplainer
from keras_cam.training.schedule import Schedule
from keras_cam.training.tensorboard_sink import TensorBoardSink
from keras_cam.training.watermark import watermark

LOGGED = ("concentration", "share_in_border")  # all would make a line of Keras' progress too long
NO_OBJECTS = (
    ": boxes or masks were given, but none of the images looked at has any, so the numbers of how far the maps lie on "
    "the objects are NaN. Follow more probes, or give data in which more images have an object."
)
NOT_BUILT = ": before_training has nothing to look at: the model is built by its first batch. Give it a keras.Input."


class CAMCallback(keras.callbacks.Callback):
    """Draws class activation maps of a few images into TensorBoard while the model trains, and says where it looks.

    The images, the probes, are chosen once, spread over the classes. For each there is one card in TensorBoard's
    Images tab under `<log_dir>/cam`: the picture, the map of the predicted class over it, that of the true class where
    it is another, and below them the epoch, the true class, and the predicted class with its probability, a red bar
    and a cross where it is wrong. The CAM tab has the maps themselves. Scalars say in numbers where the model looks;
    `logs` gets a few: with `boxes` or `masks` `val_cam_energy`, `val_cam_pointing` and `val_cam_iou`, else
    `val_cam_concentration` and `val_cam_share_in_border`, for `EarlyStopping`, `ModelCheckpoint` and `CSVLogger` that
    come later in the list of callbacks. They are there at every epoch, NaN where nothing is known; between two looks
    they stay, so that a `patience` counts epochs, not looks. Means leave out probes whose map is empty. Steps and
    epochs are counted from 0, as Keras does in TensorBoard.

    Up to 32 further images of the same data are compared with the probes, in one more batch a look, for the number
    `agreement` and for the warning that all maps of a class lie in the same place; they are not shown. There are none
    for `probes="worst"` and for methods that run the model many times. The data are let go once these images are
    chosen, but for `probes="worst"`.

    Start TensorBoard with `tensorboard --logdir logs --samples_per_plugin images=1000`, for its Images tab keeps 10
    pictures a card otherwise. Training is left as it is: the weights come out the same to the last bit. One thing is
    out of reach: a data set that shuffles or augments moves on when it is read, so give the callback another object
    than the one that `fit` reads, such as the validation data.

    Args:
        data: where probes are taken from, as the model takes them (or as `preprocess` does): images
            (n, height, width, channels), a tuple `(x, y)`, a `tf.data.Dataset`, a `keras.utils.PyDataset` or another
            iterable of batches, a directory with a subdirectory of pictures for each class, or a dict of such data by
            the name of a group. Labels are whole numbers, one-hot rows, or absent.
        log_dir: the directory given to `keras.callbacks.TensorBoard`, if there is one; this callback writes into its
            subdirectory `cam`. None: nothing is written for TensorBoard.
        every: look at every so many epochs, at least 1, or "100 batches"; the first and the last epoch always.
        num_probes: how many images to follow, at least 1; of each group, if there are groups.
        probes: "spread" (default): over the classes, once, of each class images with an object first where there are
            boxes; "worst": at each look those that the model is most confidently wrong about, found by reading all of
            `data` (4096 images of what does not say that it ends).
        classes: which maps: "predicted", "true", "topK", "all", an index or name, or several of these; default:
            "predicted" and "true", the latter where it is another. The first one is what the numbers are about, the
            true one, where it is mapped, those about the boxes. A card shows four, the CAM tab all.
        boxes: where the object is in each image of `data` (arrays or a directory): (left, top, right, bottom) in
            pixels, or several; a dict of these where `data` is one.
        masks: the same as arrays (height, width), true on the object.
        before_training: True looks once before the first epoch, at the epoch before it (-1 for the first: it is in the
            Images tab, and not in the CAM tab, which starts at 0). Not at a model that its first batch builds.
        max_share: the share of the training time that looking may take, such as 0.05; looks that would take more are
            left out, but for the first and the last. Default: no limit.
        save_dir: a directory for the cards as PNG files, and a strip and an animated GIF of each probe at the end, of
            all epochs that lie there where a training goes on; after an interrupted one when the callback trains again
            or Python ends.
        on_look: called with each `keras_cam.training.look.Look`: step, maps and numbers.
        tensorboard: the `keras.callbacks.TensorBoard` of the same training, whose `log_dir` is then used.
        image_format: of the cards in TensorBoard: "jpeg" (default) or "png".
        class_names: names of the classes, in the order of their indices; default: those of the directory, or numbers.
        preprocess: what turns the images of `data` into the model's input, such as
            `keras.applications.resnet50.preprocess_input`; called once for each image. Default: nothing is changed.
        value_range: (black, white) of the images; default: (0, 255) for integers, and for floats the first of
            (0, 1), (-1, 1), (0, 255) that holds all probes.
        on_error: "log" (default): what goes wrong while training is logged, each thing once, and training goes on;
            "raise": it ends the training.
        seed: of the choice of probes.
        **options: `method`, `target`, `layer`, `output`, `fit`, `batch_size` and the rest, as for `Explainer`.

    Raises:
        InvalidDataError: data that no probes can be taken from, or boxes that do not fit them.
        InvalidOptionError: an argument outside its range, or a `log_dir` that cannot be written to.

    Example:
        >>> import keras, os, tempfile, numpy as np
        >>> log_dir = tempfile.mkdtemp()
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.random.default_rng(0).uniform(size=(10, 8, 8, 3)), np.arange(10) % 2
        >>> history = model.fit(x[:6], y[:6], verbose=0, callbacks=[CAMCallback((x[6:], y[6:]), log_dir)])
        >>> os.listdir(log_dir), "val_cam_concentration" in history.history
        (['cam'], True)
    """

    _last: PreviousLook | None
    _looked_at: int | None
    _epoch: int | None
    _numbers: dict[str, float]
    _batches: int  # since the first epoch began
    _batch: int  # of this epoch, the last one
    _explained: keras.Model | None
    _viewer: ProbeExplainer

    def __init__(
        self,
        data: Any,
        log_dir: str | os.PathLike[str] | None = "logs",
        *,
        every: int | str = 1,
        num_probes: int = 8,
        probes: str = "spread",
        classes: Any = ("predicted", "true"),
        boxes: Any = None,
        masks: Any = None,
        before_training: bool = False,
        max_share: float | None = None,
        save_dir: str | os.PathLike[str] | None = None,
        on_look: Callable[[Look], Any] | None = None,
        tensorboard: Any = None,
        image_format: str = "jpeg",
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: str = "log",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if image_format not in ("jpeg", "png"):
            raise InvalidOptionError(f"image_format must be 'jpeg' or 'png'. Received: {image_format!r}.")
        self._reports = LogOnce(on_error)
        self._schedule = Schedule(every, max_share)
        self._before_training = before_training
        self._watching = ProbeSet(data, num_probes, probes, classes, boxes, masks, seed)
        names = self._watching.class_names if class_names is None else class_names
        self._options = {"class_names": names, "preprocess": preprocess, "value_range": value_range, **options}
        if tensorboard is not None and not hasattr(tensorboard, "log_dir"):
            raise InvalidOptionError(
                f"tensorboard is the keras.callbacks.TensorBoard of the same training. Received: {tensorboard!r}."
            )
        log_dir = log_dir if tensorboard is None else tensorboard.log_dir
        self.log_dir = None if log_dir is None else os.path.join(os.fspath(log_dir), "cam")
        for option, directory in (("log_dir", self.log_dir), ("save_dir", save_dir)):
            if directory is not None:
                check_writable(os.fspath(directory), option)
        self._sinks: dict[str, Callable[[Look], Any]] = {}
        if self.log_dir is not None:
            self._sinks["in TensorBoard"] = TensorBoardSink(self.log_dir, image_format)
        if save_dir is not None:
            self._sinks["in save_dir"] = FileSink(os.fspath(save_dir))
        if on_look is not None:
            self._sinks["by on_look"] = on_look
        self._explained, self._is_chief = None, True
        self._forget()

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepare for the model that is to be trained, and find out now whether it can be explained."""
        self._end_sinks()  # a training that was interrupted has left them open
        self._forget()
        self._is_chief = is_chief(self.model)
        self._schedule.begin()
        with self._reports.kept("before training"):
            if self.model.built:  # a Sequential without an Input may be built by its first batch only
                self._prepare()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Look before the first epoch, if that is asked for."""
        is_first = self._epoch is None
        self._epoch = epoch - 1
        self._batches = epoch * ((self.params or {}).get("steps") or 0) or self._batches
        if is_first and self._before_training:
            if self.model.built:
                self._look()
            else:
                self._reports.warn("built", NOT_BUILT)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look, if it is a batch to look at."""
        before, self._batches = self._batches, self._batches + batch - self._batch
        self._batch = batch
        if self._schedule.is_batch(before, self._batches):
            self._look()
        self._say_late()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look, if it is an epoch to look at, and add the numbers to the logs."""
        self._epoch = epoch
        self._batch = -1
        last = (self.params or {}).get("epochs")
        if self._schedule.is_epoch(epoch, is_last=last is not None and epoch + 1 >= last):
            self._look()
        self._say_late()
        if logs is not None and self._is_chief:
            names = INSIDE if self._watching.knows_objects else LOGGED
            logs.update({_logged(name): self._numbers.get(name, float("nan")) for name in names})

    def on_train_end(self, logs: Any = None) -> None:
        """Look at what came out, where training has stopped between two looks; close the files."""
        if self._epoch is not None:
            self._look()
        self._end_sinks()

    def _look(self) -> None:
        """Look at the model as it is now, but once only."""
        unit = self._schedule.unit
        step = self._batches if unit == "batch" else int(self._epoch or 0)
        if step == self._looked_at or not self._is_chief:
            return
        self._looked_at = step
        self._numbers = dict.fromkeys(self._numbers, float("nan"))  # where this one fails, there are none
        when = f"at {unit} {step}"
        with self._reports.kept(when), self._schedule.timed():
            look = self._prepare().look(step, unit, self._last)
            self._last = look.trace
            self._numbers |= look.means
            words = None if self._reports.has_said("alarm") else watermark(look)
            if words is not None:
                self._reports.warn("alarm", f", {unit} {step}: {words}")
            if self._watching.knows_objects and not any(look.watched.truths):
                self._reports.warn("objects", NO_OBJECTS)
            for where, sink in self._sinks.items():
                with self._reports.kept(when, where):  # what one cannot take, the others get
                    sink(look)
            look.let_go()

    def _say_late(self) -> None:
        if self._schedule.is_late:
            self._reports.warn("time", f": {self._schedule.words}")

    def _prepare(self) -> ProbeExplainer:
        model = self.model  # on JAX, asking for it brings its weights up to date
        if model is not self._explained:
            self._viewer = ProbeExplainer(model, self._watching, self._options)
            self._explained = model
        return self._viewer

    def _forget(self) -> None:
        """Start afresh, for a new training."""
        self._last = self._looked_at = self._epoch = None
        self._batches, self._batch = 0, -1
        self._numbers = {}
        self._reports.begin()

    def _end_sinks(self) -> None:
        for where, sink in self._sinks.items():
            if hasattr(sink, "end"):
                with self._reports.kept("after training", where):
                    sink.end()

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied or sent to another process: all but the model, and what was made for it."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("_model", "_viewer")}
        return {**state, "_explained": None, "_last": None, "_model": None}


def _logged(name: str) -> str:
    """What a number is called in the logs."""
    return "val_cam_energy" if name == "energy_inside" else f"val_cam_{name}"

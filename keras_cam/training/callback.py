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
from keras_cam.training.measures import logged_means
from keras_cam.training.probe_explainer import ProbeExplainer
from keras_cam.training.schedule import Schedule
from keras_cam.training.tensorboard_sink import TensorBoardSink
from keras_cam.training.watermark import watermark
from keras_cam.validation import one_of

NO_OBJECTS = (
    ": boxes or masks were given, but none of the images looked at has any, so the numbers of how far the maps lie on "
    "the objects are NaN. Follow more probes, or give data in which more images have an object."
)
NOT_BUILT = ": before_training has nothing to look at: the model is built by its first batch. Give it a keras.Input."


class CAMCallback(keras.callbacks.Callback):
    """Shows in TensorBoard where a model looks while it trains: class activation maps of a few images, the probes.

    After each epoch come cards in the Images tab, maps in the CAM tab, and numbers as scalars, a few of them in `logs`
    too, for callbacks later in the list. The weights stay the same to the last bit. docs/training.md has the rest: what
    the numbers mean, what a look costs, more on each argument.

    Args:
        data: arrays x or `(x, y)`, a data set of batches (another object than `fit` reads), a directory with a
            subdirectory for each class, or a dict of these by group.
        log_dir: that of `keras.callbacks.TensorBoard`; None: nothing for TensorBoard.
        every: so many epochs, or "100 batches"; the first and the last epoch always.
        num_probes: how many images, of each group.
        probes: "spread" over the classes, or "worst": at each look those that the model is most wrong about.
        classes: which maps: "predicted", "true", "topK", "all", an index, a name, or several.
        boxes: of the object in each image of `data`: (left, top, right, bottom) in pixels, several, or None.
        masks: the same as arrays (height, width).
        before_training: look before the first epoch too.
        max_share: of the training time, for looking, such as 0.05; default: no limit.
        save_dir: for cards as PNG files, and films of them.
        on_look: called with each `keras_cam.training.Look`.
        tensorboard: the TensorBoard callback whose `log_dir` to use.
        image_format: of cards in TensorBoard: "jpeg" or "png".
        class_names: in the order of the classes.
        preprocess: makes the model's input of the images.
        value_range: (black, white) of the images; default: by type and values.
        on_error: "log" what goes wrong, once, or "raise" it.
        seed: of the choice of probes.
        **options: as for `Explainer`.

    Raises:
        InvalidDataError: data that no probes can be taken from, or boxes that do not fit them.
        InvalidOptionError: an argument outside its range, or a directory that cannot be written to.

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

    _epoch: int | None  # the last that has begun or ended
    _num_batches: int  # since the first epoch began
    _batch: int  # of this epoch, the last one
    _step: int | None  # of the last look
    _previous: PreviousLook | None
    _means: dict[str, float]  # of the last look
    _explained_model: keras.Model | None
    _probe_explainer: ProbeExplainer

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
        # What can be said of the arguments is said now, before anything is read or written.
        one_of("image_format", image_format, ("jpeg", "png"))
        self._log = LogOnce(on_error)
        self._schedule = Schedule(every, max_share)
        self._before_training = before_training
        log_dir = _log_dir_of(tensorboard, log_dir)
        self.log_dir = None if log_dir is None else os.path.join(os.fspath(log_dir), "cam")
        for option, directory in (("log_dir", self.log_dir), ("save_dir", save_dir)):
            if directory is not None:
                check_writable(os.fspath(directory), option)
        # The probes are chosen now, where the data are in memory, so that these can be given up.
        self._probe_set = ProbeSet(data, num_probes, probes, classes, boxes, masks, seed)
        self._probe_set.choose()
        names = self._probe_set.class_names if class_names is None else class_names
        self._options = {"class_names": names, "preprocess": preprocess, "value_range": value_range, **options}
        self._sinks: dict[str, Callable[[Look], Any]] = {}
        if self.log_dir is not None:
            self._sinks["in TensorBoard"] = TensorBoardSink(self.log_dir, image_format)
        if save_dir is not None:
            self._sinks["in save_dir"] = FileSink(os.fspath(save_dir))
        if on_look is not None:
            self._sinks["by on_look"] = on_look
        self._explained_model, self._is_chief = None, True
        self._reset()

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepare for the model that is to be trained, and find out now whether it can be explained."""
        self._end_sinks()  # a training that was interrupted has left them open
        self._reset()
        self._is_chief = is_chief(self.model)
        self._schedule.begin()
        with self._log.log_errors("before training"):
            if self.model.built:  # a Sequential without an Input may be built by its first batch only
                self._prepare()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Look before the first epoch, if that is asked for."""
        # A training that goes on counts its batches from where the one before it ended.
        is_first = self._epoch is None
        self._epoch = epoch - 1
        self._num_batches = epoch * ((self.params or {}).get("steps") or 0) or self._num_batches
        if is_first and self._before_training:
            if self.model.built:
                self._look()
            else:
                self._log.warn("built", NOT_BUILT)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look, if it is a batch to look at."""
        # With `steps_per_execution` several batches end at once.
        before, self._num_batches = self._num_batches, self._num_batches + batch - self._batch
        self._batch = batch
        if self._schedule.is_batch(before, self._num_batches):
            self._look()
        self._warn_of_skipped_looks()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look, if it is an epoch to look at, and add the numbers to the logs."""
        self._epoch = epoch
        self._batch = -1
        # The last epoch that `fit` plans is always looked at; where it stops early, `on_train_end` looks.
        last = (self.params or {}).get("epochs")
        if self._schedule.is_epoch(epoch, is_last=last is not None and epoch + 1 >= last):
            self._look()
        self._warn_of_skipped_looks()
        if logs is not None and self._is_chief:
            logs.update(logged_means(self._means, self._probe_set.knows_objects))

    def on_train_end(self, logs: Any = None) -> None:
        """Look at what came out, where training has stopped between two looks; close the files."""
        if self._epoch is not None:
            self._look()
        self._end_sinks()

    def _look(self) -> None:
        """Look at the model as it is now, but once only."""
        unit = self._schedule.unit
        step = self._num_batches if unit == "batch" else int(self._epoch or 0)
        if step == self._step or not self._is_chief:
            return
        self._step = step
        self._means = dict.fromkeys(self._means, float("nan"))  # where this look fails, there are none
        when = f"at {unit} {step}"
        with self._log.log_errors(when), self._schedule.timed():
            look = self._prepare().look(step, unit, self._previous)
            self._previous = PreviousLook(look.probes.fingerprints, look.shares)
            self._means |= look.means
            self._warn_of(look)
            for where, sink in self._sinks.items():
                with self._log.log_errors(when, where):  # what one sink cannot take, the others get
                    sink(look)
            look.clear_cache()

    def _warn_of(self, look: Look) -> None:
        """Warn, once in a training, where the maps lie in an alarming place, and where no object is known."""
        warning = None if self._log.has_warned("watermark") else watermark(look)
        if warning is not None:
            self._log.warn("watermark", f", {look.unit} {look.step}: {warning}")
        if self._probe_set.knows_objects and not any(look.probes.truths):
            self._log.warn("objects", NO_OBJECTS)

    def _warn_of_skipped_looks(self) -> None:
        if self._schedule.is_late:
            self._log.warn("time", f": {self._schedule.words}")

    def _prepare(self) -> ProbeExplainer:
        model = self.model  # on JAX, asking for it brings its weights up to date
        if model is not self._explained_model:
            self._probe_explainer = ProbeExplainer(model, self._probe_set, self._options)
            self._explained_model = model
        return self._probe_explainer

    def _reset(self) -> None:
        """Start afresh, for a new training."""
        self._epoch = self._step = self._previous = None
        self._num_batches, self._batch = 0, -1
        self._means = {}
        self._log.reset()

    def _end_sinks(self) -> None:
        for where, sink in self._sinks.items():
            if hasattr(sink, "end"):
                with self._log.log_errors("after training", where):
                    sink.end()

    def __getstate__(self) -> dict[str, Any]:
        """What can be copied or sent to another process: all but the model, and what was made for it."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("_model", "_probe_explainer")}
        return {**state, "_explained_model": None, "_previous": None, "_model": None}


def _log_dir_of(tensorboard: Any, log_dir: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """The log directory of a TensorBoard callback, where there is one, else the one that was given."""
    if tensorboard is None:
        return log_dir
    if not hasattr(tensorboard, "log_dir"):
        raise InvalidOptionError(
            f"tensorboard is the keras.callbacks.TensorBoard of the same training. Received: {tensorboard!r}."
        )
    directory: str | os.PathLike[str] | None = tensorboard.log_dir
    return directory

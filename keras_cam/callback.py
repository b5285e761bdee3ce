"""Show in TensorBoard where a network looks, epoch by epoch, while it trains."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_cam import attention
from keras_cam.card import probe_card
from keras_cam.errors import InvalidDataError, InvalidOptionError
from keras_cam.explainer import Explainer
from keras_cam.explanation import Explanation
from keras_cam.heatmap import limits_of
from keras_cam.probes import Probes, ProbeSource
from keras_cam.render import encode_jpeg
from keras_cam.tensorboard.writer import SummaryWriter, check_writable

__all__ = ["CAMCallback"]

logger = logging.getLogger("keras_cam")

PICTURE = (
    "Left the picture, right where the model finds evidence for the class that it predicts. The numbers beside the "
    "colours are in units of the class's score before softmax or sigmoid."
)
NUMBERS = {
    "probability_of_true_class": "Mean over the probes of the probability that the model gives to the true class.",
    "concentration": "How small the area is that holds half of the heat: 0 spread evenly, near 1 all in one spot.",
    "share_in_border": "Share of the heat within a tenth of the picture's sides: 0.36 if spread evenly. "
    "High: the model may be looking at a mark or a frame.",
    "moved_since_last": "Share of the heat that lies elsewhere than the last time: 0 nothing moved, 1 everything.",
}


class CAMCallback(keras.callbacks.Callback):
    """Draws class activation maps of a few fixed images into TensorBoard while the model trains.

    The images, the probes, are chosen once, spread over the classes. For each there is one card in TensorBoard's
    Images tab under `<log_dir>/cam`: the picture, the map of the predicted class over it, and below them the epoch,
    the true class, and the predicted class with its probability, a red bar and a cross where it is wrong. Scalars
    beside them say in numbers where the model looks. Steps and epochs are counted from 0, as Keras does in TensorBoard.

    Start TensorBoard with `tensorboard --logdir logs --samples_per_plugin images=1000`, for it keeps 10 pictures a card
    otherwise. Training is left as it is: the weights come out the same to the last bit. One thing is out of reach: a
    data set that shuffles or augments moves on when it is read, so give the callback another object than the one that
    `fit` reads, such as the validation data.

    Args:
        data: where probes are taken from, as the model takes them (or as `preprocess` does): images
            (n, height, width, channels), a tuple `(x, y)`, a `tf.data.Dataset`, a `keras.utils.PyDataset` or another
            iterable of batches. Labels are whole numbers, one-hot rows, or absent.
        log_dir: the directory given to `keras.callbacks.TensorBoard`, if there is one; this callback writes into its
            subdirectory `cam`.
        every: draw at every so many epochs, at least 1.
        num_probes: how many images to follow, at least 1.
        class_names: names of the classes, in the order of their indices; default: their numbers.
        preprocess: what turns the images of `data` into the model's input, such as
            `keras.applications.resnet50.preprocess_input`; default: nothing is changed.
        value_range: (black, white) of the images; default: (0, 255) for integers, and for floats the first of
            (0, 1), (-1, 1), (0, 255) that holds all probes.
        on_error: "log" (default): what goes wrong while training is logged, each thing once, and training goes on;
            "raise": it ends the training.
        seed: of the choice of probes.

    Raises:
        InvalidDataError: data that no probes can be taken from.
        InvalidOptionError: an argument outside its range, or a `log_dir` that cannot be written to.

    Example:
        >>> import os, tempfile
        >>> log_dir = tempfile.mkdtemp()
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3),
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.random.default_rng(0).uniform(size=(10, 8, 8, 3)), np.arange(10) % 2
        >>> history = model.fit(x[:6], y[:6], verbose=0, callbacks=[CAMCallback((x[6:], y[6:]), log_dir)])
        >>> os.listdir(log_dir)
        ['cam']
    """

    def __init__(
        self,
        data: Any,
        log_dir: str | os.PathLike[str] = "logs",
        *,
        every: int = 1,
        num_probes: int = 8,
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: str = "log",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.every = _positive(every, "every")
        self.num_probes = _positive(num_probes, "num_probes")
        if on_error not in ("log", "raise"):
            raise InvalidOptionError(f"on_error must be 'log' or 'raise'. Received: {on_error!r}.")
        self.on_error = on_error
        self.seed = seed
        self.log_dir = os.path.join(os.fspath(log_dir), "cam")
        check_writable(self.log_dir)
        self._options: dict[str, Any] = {
            "class_names": class_names,
            "preprocess": preprocess,
            "value_range": value_range,
        }
        source = ProbeSource(data)
        self._probes: Probes | ProbeSource = source.choose(self.num_probes, seed=seed) if source.in_memory else source
        self._writer = SummaryWriter(self.log_dir)
        self._explained: keras.Model | None = None
        self._explainer: Explainer
        self._last_shares: np.ndarray | None = None
        self._logged: set[str] = set()

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepare for the model that is to be trained, and find out now whether it can be explained."""
        self._last_shares = None
        self._logged = set()
        with self._reporting("before training"):
            self._writer.close()  # a training that was interrupted has left it open
            if self.model.built:  # a Sequential without an Input may be built by its first batch only
                self._prepare()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw the probes, if it is an epoch to draw."""
        if (epoch + 1) % self.every == 0:
            with self._reporting(f"at epoch {epoch}"):
                explainer, probes = self._prepare()
                self._write(explainer(probes.images, classes="top1"), probes.labels, epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Close the event file."""
        with self._reporting("after training"):
            self._writer.close()

    def _prepare(self) -> tuple[Explainer, Probes]:
        model = self.model  # on JAX, asking for it brings its weights up to date
        if model is not self._explained:
            self._explainer = Explainer(model, **self._options)
            self._explained = model
        num_classes = self._explainer.num_classes
        if isinstance(self._probes, ProbeSource):
            self._probes = self._probes.choose(self.num_probes, seed=self.seed, num_classes=num_classes)
        probes = self._probes
        if probes.labels is not None and probes.labels.max() >= num_classes:
            raise InvalidDataError(
                f"Labels must lie in 0..{num_classes - 1}, for the model tells {num_classes} classes apart. "
                f"Received: label {probes.labels.max()} in the data given to CAMCallback."
            )
        return self._explainer, probes

    def _write(self, result: Explanation, labels: np.ndarray | None, epoch: int) -> None:
        shares = attention.heat_shares(result.maps[:, 0])
        heatmaps = result.heatmaps(None)
        for index, (picture, heatmap) in enumerate(zip(result.images, heatmaps, strict=True)):
            label = None if labels is None else int(labels[index])
            lines = caption_lines(result, index, label, epoch, empty=bool(np.isnan(shares[index]).any()))
            wrong = label is not None and label != result.class_indices[index, 0]
            low, high = (float(end.item()) for end in limits_of(heatmap[0]))
            card = probe_card(picture, heatmap[0], (low, high), lines, wrong=wrong)
            height, width = card.shape[:2]
            tag = f"cam/probe_{index:02d}"
            self._writer.image(
                tag, encode_jpeg(card, quality=90), width=width, height=height, step=epoch, description=PICTURE
            )
        for name, values in _numbers(result, labels, shares, self._last_shares).items():
            if not np.isnan(values).all():
                mean = float(np.nanmean(values))
                self._writer.scalar(f"cam/{name}", mean, step=epoch, description=NUMBERS[name])
        self._writer.flush()
        self._last_shares = shares

    @contextmanager
    def _reporting(self, when: str) -> Iterator[None]:
        """Keep an error from ending the training, unless that is wanted, and log each one once."""
        try:
            yield
        except Exception as error:
            if self.on_error == "raise":
                raise
            message = f"{type(error).__name__}: {error}"
            if message not in self._logged:
                self._logged.add(message)
                # The line break leaves the line of Keras' progress bar.
                logger.error(
                    "\nCAMCallback could not show where the model looks %s. %s\nTraining goes on without these "
                    "pictures; CAMCallback(on_error='raise') would stop here. The same error is not logged again.",
                    when,
                    message,
                )


def caption_lines(result: Explanation, index: int, label: int | None, epoch: int, *, empty: bool) -> list[str]:
    """Say what stands below a probe: epoch, true class, predicted class, probability, and whether the map is empty."""
    first, second = f"epoch {epoch}", f"predicted: {result.title(index)}"
    if label is not None:
        first += f"   true: {result.class_name(label)} {result.probabilities[index, label]:.1%}"
        second = f"{'✓' if label == result.class_indices[index, 0] else '✗'} {second}"
    return [first, second, *(["empty map: nothing in the picture speaks for it"] if empty else [])]


def _numbers(
    result: Explanation, labels: np.ndarray | None, shares: np.ndarray, last_shares: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The numbers of each probe; NaN where there is none."""
    numbers = {
        "concentration": attention.concentration(shares),
        "share_in_border": attention.border_share(shares),
    }
    if labels is not None:
        numbers["probability_of_true_class"] = result.probabilities[np.arange(len(labels)), labels]
    if last_shares is not None and last_shares.shape == shares.shape:
        numbers["moved_since_last"] = attention.moved_share(last_shares, shares)
    return numbers


def _positive(number: Any, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise InvalidOptionError(f"{name} must be a whole number, at least 1. Received: {name}={number!r}.")
    return int(number)

"""Write image and scalar summaries as TensorBoard's event files, with its own records over its own file layer.

It needs no TensorFlow, so it serves every Keras backend; where that is installed, its record writer is faster.
`tf.summary.record_if` (which `keras.callbacks.TensorBoard(update_freq=...)` sets around every batch) does not silence
it. TensorBoard's `EventFileWriter` is not used: it writes in a thread, which it leaves behind, with an open file, where
the disk is full.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cam.errors import InvalidOptionError
from keras_cam.tensorboard.records import PICTURES, PLUGIN, content_of

if TYPE_CHECKING:
    from tensorboard.summary.writer.record_writer import RecordWriter

NUMBERS = itertools.count()  # of the event files of this process


def check_writable(directory: str, option: str = "log_dir") -> None:
    """Find out whether a directory could be made and written to, without making it.

    Args:
        directory: the directory to be written to later. Remote ones (`gs://...`) are not looked at.
        option: the argument that asks for it.

    Raises:
        InvalidOptionError: a file stands in the way, or the nearest directory that exists cannot be written to.
    """
    if "://" in directory:
        return
    existing = os.path.abspath(directory)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    # The nearest directory that exists is the one that the others would be made in.
    if not os.path.isdir(existing):
        problem = f"{existing!r} is a file, not a directory"
    elif not os.access(existing, os.W_OK | os.X_OK):
        problem = f"{existing!r} cannot be written to by this user"
    else:
        return
    raise InvalidOptionError(
        f"{option} must be a directory that can be written to. Received: one that needs {directory!r}, but {problem}. "
        f"Pass another {option}."
    )


class SummaryWriter:
    """Writes summaries into one directory, which is made with the first of them.

    `close` ends the event file; a summary written later starts another one, which sorts behind all before it. When
    writing fails the error is raised by the call that finds it, `flush` at the latest; the file is closed, and removed
    where nothing had been flushed into it yet, and the next summary starts a new one. Where a run starts again in its
    directory at an earlier step, TensorBoard shows the new summaries in place of the old.

    Args:
        directory: where the event files go; TensorBoard shows it as a run.

    Example:
        >>> import os, tempfile
        >>> directory = os.path.join(tempfile.mkdtemp(), "cam")
        >>> writer = SummaryWriter(directory)
        >>> os.path.exists(directory)
        False
        >>> writer.scalar("cam/share_in_border", 0.25, step=0)
        >>> writer.close()
        >>> [name.startswith("events.out.tfevents") for name in os.listdir(directory)]
        [True]
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._file: RecordWriter | None = None
        self._path = ""
        self._is_kept = False  # whether something has been flushed into the file
        self._last: int | None = None  # the step of the last summary

    def image(
        self, tag: str, encoded: bytes, *, width: int, height: int, step: int, description: str | None = None
    ) -> None:
        """Write one picture.

        Args:
            tag: name of the card; TensorBoard groups by what stands before the first slash.
            encoded: a JPEG or PNG file.
            width: its width in pixels.
            height: its height in pixels.
            step: position on the slider.
            description: Markdown behind the card's (i); TensorBoard keeps the first of a tag.
        """
        from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE
        from tensorboard.plugins.image import metadata

        about = metadata.create_summary_metadata(None, description)
        about.data_class = DATA_CLASS_BLOB_SEQUENCE
        self._write(tag, [str(width).encode(), str(height).encode(), encoded], about, step)

    def scalar(self, tag: str, value: float, *, step: int, description: str | None = None) -> None:
        """Write one number (float32); arguments as for `image`."""
        from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR
        from tensorboard.plugins.scalar import metadata

        about = metadata.create_summary_metadata(None, description)
        about.data_class = DATA_CLASS_SCALAR
        self._write(tag, np.float32(value), about, step)

    def record(self, tag: str, kind: str, strings: list[bytes], *, step: int) -> None:
        """Write one record for the CAM tab.

        Args:
            tag: where, as `keras_cam.tensorboard.records` names it.
            kind: what, as it names that.
            strings: the record's parts.
            step: the epoch.
        """
        from tensorboard.compat.proto import summary_pb2

        data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE if kind == PICTURES else summary_pb2.DATA_CLASS_TENSOR
        about = summary_pb2.SummaryMetadata(data_class=data_class)
        about.plugin_data.plugin_name = PLUGIN
        about.plugin_data.content = content_of(kind)
        self._write(tag, strings, about, step)

    @property
    def is_gone(self) -> bool:
        """Whether the file that was written to has been taken away since the last flush."""
        return self._file is not None and self._is_kept and "://" not in self._path and not os.path.exists(self._path)

    def flush(self) -> None:
        """See to it that all that was written lies in the file."""
        if self._file is not None:
            with self._closing_on_error():
                self._file.flush()
            self._is_kept = True

    def close(self) -> None:
        """Flush and close the event file; may be called again."""
        self.flush()
        if self._file is not None:
            with self._closing_on_error():
                self._file.close()
            self._file = None

    def _write(self, tag: str, content: Any, metadata: Any, step: int) -> None:
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.util import tensor_util

        summary = summary_pb2.Summary()
        summary.value.add(tag=tag, tensor=tensor_util.make_tensor_proto(content), metadata=metadata)
        with self._closing_on_error():
            if self._file is None:
                self._begin(step)
            self._add(step=step, summary=summary)
        self._last = step

    def _begin(self, step: int) -> None:
        """Start a file; it says where a run starts anew, which TensorBoard's own loader waits for.

        TensorBoard reads the files of a run in the order of their names, and passes over what sorts before the one
        that it has come to: so the running number has zeros in front, or 10 would come before 9.
        """
        from tensorboard.compat import tf
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        # The name: the second, for order; the process, for several writers; a running number, for several files of one.
        tf.io.gfile.makedirs(self.directory)
        second, process = int(time.time()), f"{socket.gethostname()}.{os.getpid()}"
        name = f"events.out.tfevents.{second:010d}.{process}.{next(NUMBERS):06d}"
        self._path, self._is_kept = os.path.join(self.directory, name), False
        if hasattr(tf.io, "TFRecordWriter"):  # TensorFlow is installed: the same form, its check sums 300 times as fast
            self._file = tf.io.TFRecordWriter(self._path)
        else:
            self._file = RecordWriter(tf.io.gfile.GFile(self._path, "wb"))
        self._add(file_version="brain.Event:2")
        # Where steps begin anew TensorBoard drops the later ones that it has read, if the file says so.
        if self._last is None or step < self._last:
            self._add(step=step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def _add(self, **content: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        if self._file is not None:
            self._file.write(event_pb2.Event(wall_time=time.time(), **content).SerializeToString())

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        """Let an error of the block through, and leave no open file behind: its next summary starts a new one."""
        try:
            yield
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Close the file whatever it says, and leave none behind in which there is nothing whole."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # what went wrong is being raised
                file.close()
            if not self._is_kept:
                with contextlib.suppress(OSError):  # it was never made, or is not on this machine's disks
                    os.remove(self._path)

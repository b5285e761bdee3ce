"""Event files: written, read back with TensorBoard's own loader, and failing in the right place."""

import importlib
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from keras_cam.errors import InvalidOptionError
from keras_cam.tensorboard.summary_writer import SummaryWriter, check_writable


def events(directory):
    """Summaries of all event files in a directory: (tag, step, plugin, tensor, metadata)."""
    found = []
    for name in sorted(os.listdir(directory)):
        for event in EventFileLoader(os.path.join(directory, name)).Load():
            for value in event.summary.value:
                content = tensor_util.make_ndarray(value.tensor)
                found.append((value.tag, event.step, value.metadata.plugin_data.plugin_name, content, value.metadata))
    return found


@pytest.fixture(params=["as installed", "without TensorFlow"])
def layer(request, monkeypatch):
    """TensorBoard's file layer: that of TensorFlow where it is installed, and TensorBoard's own."""
    if request.param == "without TensorFlow":
        monkeypatch.setattr("tensorboard.compat.tf", importlib.import_module("tensorboard.compat.tensorflow_stub"))
    return importlib.import_module("tensorboard.compat").tf.io


def test_what_is_written_is_read_back(tmp_path, layer):
    writer = SummaryWriter(str(tmp_path / "run" / "cam"))
    writer.image("cam/probe_00", b"a picture", width=700, height=400, step=3, description="**what** it is")
    writer.scalar("cam/number", 0.25, step=4)
    writer.close()
    picture, number = events(tmp_path / "run" / "cam")
    assert picture[:3] == ("cam/probe_00", 3, "images")
    assert picture[3].tolist() == [b"700", b"400", b"a picture"]
    assert picture[4].summary_description == "**what** it is"
    assert number[:3] == ("cam/number", 4, "scalars")
    assert number[3].dtype == np.float32 and number[3] == 0.25
    assert (picture[4].data_class, number[4].data_class) == (3, 1)  # blob sequence, scalar: or no dashboard shows them


def test_the_directory_comes_with_the_first_summary_and_each_close_ends_a_file(tmp_path):
    directory = tmp_path / "cam"
    writer = SummaryWriter(str(directory))
    writer.flush()
    writer.close()
    assert not directory.exists()
    for step in range(2):
        writer.scalar("cam/number", step, step=step)
        writer.close()
        writer.close()
    assert len(os.listdir(directory)) == 2
    assert [event[1] for event in events(directory)] == [0, 1]


def test_files_of_one_second_are_read_in_the_order_of_writing(tmp_path):
    """TensorBoard sorts the names of a run's files as words; nothing waits for the next second."""
    assert importlib.import_module("tensorboard.compat").tf.io.gfile  # imported by now, whatever that takes
    began = time.monotonic()
    for step in range(12):  # two numbers of one digit and of two among them, whatever number the process has come to
        writer = SummaryWriter(str(tmp_path / "cam"))
        writer.scalar("cam/number", step, step=step)
        writer.close()
    names = sorted(os.listdir(tmp_path / "cam"))
    numbers = [int(name.rpartition(".")[2]) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 12))
    assert [event[1] for event in events(tmp_path / "cam")] == list(range(12))
    assert time.monotonic() - began < 6, "a second for each file was waited for"
    first = next(iter(EventFileLoader(str(tmp_path / "cam" / names[0])).Load()))
    assert first.file_version == "brain.Event:2"
    assert abs(first.wall_time - int(names[0].split(".")[3])) < 60


def test_flush_makes_it_readable_while_the_file_is_open(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    writer.scalar("cam/number", 1, step=0)
    writer.flush()
    assert len(events(tmp_path)) == 1
    writer.close()


def test_a_file_in_the_way_is_found_without_making_anything(tmp_path):
    (tmp_path / "logs").write_text("not a directory")
    with pytest.raises(InvalidOptionError, match="logs' is a file"):
        check_writable(str(tmp_path / "logs" / "cam"))
    check_writable(str(tmp_path / "new" / "cam"))
    assert os.listdir(tmp_path) == ["logs"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_of_others_is_found(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidOptionError, match="cannot be written to"):
        check_writable(str(tmp_path / "cam"))


def test_a_remote_directory_is_left_to_tensorboard():
    check_writable("gs://bucket/logs/cam")


def test_an_error_is_raised_and_the_next_summary_starts_afresh(tmp_path):
    (tmp_path / "cam").write_text("in the way")
    writer = SummaryWriter(str(tmp_path / "cam"))
    with pytest.raises(Exception, match="cam"):
        writer.scalar("cam/number", 0, step=0)
    writer.close()
    (tmp_path / "cam").unlink()
    writer.scalar("cam/number", 1, step=1)
    writer.close()
    assert [event[1] for event in events(tmp_path / "cam")] == [1]


def fill_up(layer, monkeypatch):
    """Let every event file fail at its flush, as on a full disk."""

    class Full(getattr(layer, "TFRecordWriter", layer.gfile.GFile)):
        def flush(self):
            super().flush()
            raise OSError("No space left on device")

    if hasattr(layer, "TFRecordWriter"):
        monkeypatch.setattr(layer, "TFRecordWriter", Full)
    else:
        monkeypatch.setattr(layer.gfile, "GFile", Full)


def test_a_full_disk_is_said_at_the_flush(tmp_path, monkeypatch, layer):
    writer = SummaryWriter(str(tmp_path))
    writer.scalar("cam/number", 0, step=0)
    writer.close()
    with monkeypatch.context() as context:
        fill_up(layer, context)
        writer.scalar("cam/number", 1, step=1)
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    writer.close()
    assert [event[1] for event in events(tmp_path)] == [0], "what was flushed stays"


def test_failures_leave_no_thread_no_open_file_and_no_file_behind(tmp_path, monkeypatch, layer):
    """TensorBoard's EventFileWriter left one of each, until fit died of too many open files."""

    def state():
        return threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    writer = SummaryWriter(str(tmp_path))
    before, began = state(), time.monotonic()
    with monkeypatch.context() as context:
        fill_up(layer, context)
        for step in range(50):
            with pytest.raises(OSError, match="No space left"):
                writer.scalar("cam/number", step, step=step)
                writer.flush()
    assert state() == before and os.listdir(tmp_path) == [] and time.monotonic() - began < 10
    writer.scalar("cam/number", 7, step=7)
    writer.close()
    assert [event[1] for event in events(tmp_path)] == [7]


def test_a_file_that_is_taken_away_is_noticed(tmp_path):
    writer = SummaryWriter(str(tmp_path / "cam"))
    assert not writer.is_gone
    writer.scalar("cam/number", 0, step=0)
    writer.flush()
    assert not writer.is_gone
    shutil.rmtree(tmp_path / "cam")
    assert writer.is_gone
    writer.close()
    writer.scalar("cam/number", 1, step=1)
    writer.close()
    assert [event[1] for event in events(tmp_path / "cam")] == [1]


def test_writing_imports_no_tensorflow_of_our_own(tmp_path):
    """TensorBoard's file layer takes TensorFlow where it is installed; where it is not, nothing here needs it."""
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from keras_cam.tensorboard.summary_writer import SummaryWriter\n"
        f"writer = SummaryWriter({str(tmp_path)!r}); writer.scalar('cam/number', 1, step=0); writer.close()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(events(tmp_path)) == 1

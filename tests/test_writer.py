"""Event files: written, read back with TensorBoard's own loader, and failing in the right place."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from keras_cam.errors import InvalidOptionError
from keras_cam.tensorboard.writer import SummaryWriter, check_writable


def events(directory):
    """Summaries of all event files in a directory: (tag, step, plugin, tensor, metadata)."""
    found = []
    for name in sorted(os.listdir(directory)):
        for event in EventFileLoader(os.path.join(directory, name)).Load():
            for value in event.summary.value:
                content = tensor_util.make_ndarray(value.tensor)
                found.append((value.tag, event.step, value.metadata.plugin_data.plugin_name, content, value.metadata))
    return found


def test_what_is_written_is_read_back(tmp_path):
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
    """A process numbers its event files, and TensorBoard sorts their names: 10 comes before 9."""
    elsewhere = tmp_path / "elsewhere"
    number = 0
    while number % 10 != 8:
        other = EventFileWriter(str(elsewhere))
        other.close()
        number = max(int(name.rpartition(".")[2]) for name in os.listdir(elsewhere))
    for step in range(2):
        writer = SummaryWriter(str(tmp_path / "cam"))
        writer.scalar("cam/number", step, step=step)
        writer.close()
    assert sorted(int(name.rpartition(".")[2]) for name in os.listdir(tmp_path / "cam")) == [number + 1, number + 2]
    assert [event[1] for event in events(tmp_path / "cam")] == [0, 1]


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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_said_at_the_flush_and_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # TensorBoard's thread ends with the error
    writer = SummaryWriter(str(tmp_path))
    writer.scalar("cam/number", 0, step=0)
    writer.flush()
    with open("/dev/full", "wb", buffering=0) as full:
        thread = writer._file._async_writer._worker
        writer._file._async_writer._writer._writer = full  # what the file's descriptor would be on a full disk
        with pytest.raises(OSError, match="No space left"):
            for step in range(3):
                writer.scalar("cam/number", step, step=step)
                writer.flush()
        thread.join(timeout=10)
    assert not thread.is_alive()
    writer.close()


def test_writing_imports_no_tensorflow_of_our_own(tmp_path):
    """TensorBoard's file layer takes TensorFlow where it is installed; where it is not, nothing here needs it."""
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from keras_cam.tensorboard.writer import SummaryWriter\n"
        f"writer = SummaryWriter({str(tmp_path)!r}); writer.scalar('cam/number', 1, step=0); writer.close()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(events(tmp_path)) == 1

"""What goes wrong: records of others, too much data, half-written files, full disks, a plugin that is broken."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tensorboard_server import (
    PNG,
    fetch,
    half_precision,
    has_data_server,
    maps_of,
    probe_of,
    serving,
    strictly,
    tensorboard_process,
    unpack,
    write_run,
    write_step,
)
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

import keras_cam
from keras_cam.tensorboard import log_reader, records
from keras_cam.tensorboard.records import EPOCHS, EPOCHS_TAG, MAPS, PICTURES
from keras_cam.tensorboard.summary_writer import SummaryWriter

RUST = pytest.param("rust", marks=pytest.mark.skipif(not has_data_server(), reason="no data server on this platform"))
LOADERS = pytest.mark.parametrize("loader", ["python", RUST])
TAG = records.tag_of("probe_00", MAPS)
TENSOR, BLOBS = summary_pb2.DATA_CLASS_TENSOR, summary_pb2.DATA_CLASS_BLOB_SEQUENCE


def write_foreign(directory, tag, tensors, kind=MAPS, data_class=TENSOR, content=None):
    """Write tensors that are not ours under our plugin's name, one a step."""
    file = EventFileWriter(str(directory))
    for step, tensor in enumerate(tensors):
        metadata = summary_pb2.SummaryMetadata(data_class=data_class)
        metadata.plugin_data.plugin_name = records.PLUGIN
        metadata.plugin_data.content = records.content_of(kind) if content is None else content
        proto = tensor if isinstance(tensor, tensor_pb2.TensorProto) else tensor_util.make_tensor_proto(tensor)
        value = summary_pb2.Summary.Value(tag=tag, tensor=proto, metadata=metadata)
        file.add_event(event_pb2.Event(step=step, wall_time=step, summary=summary_pb2.Summary(value=[value])))
    file.close()


# records of others


def damaged():
    """Maps records that are not what they say, by a word for each."""
    header, numbers = records.encode_maps(maps_of(0))
    return {
        "short": [header, numbers[:-4]],
        "long": [header, numbers + b"1234"],
        "no JSON": [b"{", numbers],
        "no place": records.encode_maps(maps_of(0)._replace(placement=((float("nan"), 1.0), (0.0, 1.0)))),
        "empty": [b"", b""],
        "one string": [header],
        "three strings": [header, numbers, b""],
        "numbers": np.zeros((2, 3), "f4"),
        "one number": np.float32(1),
        "square of strings": np.array([[header, numbers], [header, numbers]], dtype=object),
        "nested": [b"[" * 100_000, numbers],
    }


@LOADERS
def test_records_that_are_not_whole_are_left_out_and_counted(tmp_path, loader):
    """Each between two sound ones, which are shown."""
    sound = records.encode_maps(maps_of(0))
    tensors = [sound, *damaged().values(), sound]
    write_foreign(tmp_path / "cam", TAG, tensors)
    with serving(tmp_path, loader) as tab:
        header, grids = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
    assert header["dropped"] == len(tensors) - 2
    assert list(grids) == [0, len(tensors) - 1]
    np.testing.assert_array_equal(grids[0], maps_of(0).maps)


@pytest.mark.parametrize("name", sorted(damaged()))
def test_a_series_of_nothing_but_bad_records_is_empty(tmp_path, name):
    write_foreign(tmp_path / "cam", TAG, [damaged()[name]])
    with serving(tmp_path) as tab:
        header, grids = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
    assert (header["steps"], header["dropped"], grids) == ([], 1, {})


@LOADERS
def test_summaries_that_are_not_sound_are_left_out_and_counted(tmp_path, loader):
    sound = records.encode_epoch(0, [probe_of()])
    bad = [[b"{}"], [b'{"v": 1, "epoch": 0, "probes": [{"probe": "../x"}]}'], [b'{"v": 1, "epoch": NaN, "probes": []}']]
    wrong = sound[0].replace(b"0.75", b"1e999")
    assert wrong != sound[0]
    write_foreign(tmp_path / "cam", EPOCHS_TAG, [*bad, sound, [wrong], np.arange(3)], EPOCHS)
    with serving(tmp_path, loader) as tab:
        said = tab.json("epochs", run="cam")
    assert [record["step"] for record in said["epochs"]] == [3] and said["dropped"] == 5


HEADER, NUMBERS = records.encode_maps(maps_of(0))


PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
STRINGS = st.binary(max_size=40) | st.sampled_from([HEADER, NUMBERS, NUMBERS[1:], *PICTURE_STARTS])


@given(st.lists(STRINGS, max_size=3), st.binary(max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_bytes_get_an_answer_and_never_an_error_of_the_server(tmp_path_factory, strings, content):
    folder = tmp_path_factory.mktemp("log")
    write_foreign(folder / "a", TAG, [strings])
    write_foreign(folder / "a", EPOCHS_TAG, [strings], EPOCHS)
    write_foreign(folder / "a", records.tag_of("probe_01", MAPS), [strings], content=content)
    write_foreign(folder / "a", records.tag_of("probe_00", PICTURES), [strings], PICTURES, BLOBS)
    with serving(folder, flags=["--reload_multifile=true"]) as tab:
        assert tab.ask("runs").status_code == 200
        assert tab.ask("epochs", run="a").status_code in (200, 422)
        for probe in ("probe_00", "probe_01"):
            assert tab.ask("maps", run="a", probe=probe).status_code in (200, 422)
        looks_like_one = bool(strings) and strings[0].startswith(PICTURE_STARTS)  # the browser says what it is not
        answers = (200,) if looks_like_one else (404, 422)
        assert tab.ask("picture", run="a", probe="probe_00", step=0).status_code in answers
    shutil.rmtree(folder)


def bfloat16():
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_BFLOAT16, tensor_shape=tensor_util.make_tensor_proto([[0, 0]]).tensor_shape, half_val=[1, 2]
    )


def shapeless():
    """Strings that are fewer than their shape says."""
    proto = tensor_util.make_tensor_proto([b"a", b"b", b"c"])
    proto.tensor_shape.dim[0].size = 7
    return proto


def endless():
    """One string, said to stand for four times a million million."""
    proto = tensor_util.make_tensor_proto([b"a"])
    proto.tensor_shape.dim[0].size = 2**42
    return proto


@LOADERS
@pytest.mark.parametrize("tensor", [bfloat16, shapeless, endless])
def test_tensors_that_tensorboard_cannot_read_are_said_to_be_so(tmp_path, loader, tensor):
    write_foreign(tmp_path / "cam", TAG, [tensor()])
    write_foreign(tmp_path / "other", EPOCHS_TAG, [tensor()], EPOCHS)
    with serving(tmp_path, loader) as tab:
        for route, query in (("maps", {"run": "cam", "probe": "probe_00"}), ("epochs", {"run": "other"})):
            reply = tab.ask(route, **query)
            if reply.status_code == 200:  # where TensorFlow's bfloat16 makes it readable
                assert tensor is bfloat16 and b'"dropped":1' in reply.data
            else:
                assert reply.status_code == 422 and "cannot read" in reply.get_json()["error"]
        assert len(tab.json("runs")["runs"]) == 2


NO_PICTURES = {
    "other bytes": [b"no picture"],
    "nothing": [],
    "many": [PNG] * 17,
    "endless": endless(),
    "numbers": np.zeros(1, "f4"),
    "one number": np.float32(1),
}


@pytest.mark.parametrize("blobs", NO_PICTURES.values(), ids=NO_PICTURES)
@LOADERS
def test_pictures_that_are_none_are_refused(tmp_path, loader, blobs):
    write_foreign(tmp_path / "cam", records.tag_of("probe_00", PICTURES), [blobs], PICTURES, BLOBS)
    with serving(tmp_path, loader) as tab:
        start = time.perf_counter()
        assert tab.refused("picture", run="cam", probe="probe_00", step=0)[0] in (404, 422)
        assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["<svg onload=alert(1)>", "GIF89a", "<!doctype html>"])
def test_only_jpeg_and_png_are_sent(tmp_path, name):
    write_foreign(tmp_path / "cam", records.tag_of("probe_00", PICTURES), [[name.encode()]], PICTURES, BLOBS)
    with serving(tmp_path) as tab:
        status, words = tab.refused("picture", run="cam", probe="probe_00", step=0)
    assert status == 422 and "neither a JPEG nor a PNG" in words


@LOADERS
def test_tags_of_another_tool_or_a_newer_version_are_refused(tmp_path, loader):
    strings = records.encode_maps(maps_of(0))
    write_foreign(tmp_path / "newer", TAG, [strings], content=b'{"v": 2, "kind": "maps"}')
    write_foreign(tmp_path / "other", TAG, [strings], kind=EPOCHS)
    write_foreign(tmp_path / "class", TAG, [strings], data_class=BLOBS)
    with serving(tmp_path, loader) as tab:
        assert tab.json("runs")["runs"] == []
        for run in ("newer", "other"):
            status, words = tab.refused("maps", run=run, probe="probe_00")
            assert status == 422 and "newer keras_cam" in words
        assert tab.refused("maps", run="class", probe="probe_00")[0] == 404


def test_names_in_the_data_are_sent_as_data(tmp_path):
    names = {"4": "<script>alert(1)</script>", "7": "x" * 10_000, "9": "\u202eאב🐈\u2028\x00"}
    writer = SummaryWriter(str(tmp_path / "cam"))
    writer.record(EPOCHS_TAG, EPOCHS, records.encode_epoch(0, [probe_of(name="</script>", names=names)]), step=0)
    writer.close()
    with serving(tmp_path) as tab:
        reply = tab.ask("epochs", run="cam")
    assert reply.data.isascii() and reply.mimetype == "application/json"
    (probe,) = strictly(reply.data)["epochs"][0]["probes"]
    assert probe["names"] == names and probe["name"] == "</script>"


# too much


@LOADERS
@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_more_than_a_reply_may_hold_is_said_with_its_size(tmp_path, loader, dtype):
    """Two records of 40 MiB on the wire; as float16 they pass the first look and not the second."""
    maps = np.zeros((5, 1024, 2048), "<f4")
    encode = {"<f4": records.encode_maps, "<f2": half_precision}[dtype]
    strings = encode(maps_of(0)._replace(maps=maps, classes=tuple(range(5))))
    _write_fast(tmp_path, [strings, strings])
    with serving(tmp_path, loader) as tab:
        start = time.perf_counter()
        status, words = tab.refused("maps", run=".", probe="probe_00")
        assert status == 413 and "80 MiB" in words and "64 MiB" in words
        assert time.perf_counter() - start < 10
        assert tab.json("runs")["runs"][0]["probes"] == ["probe_00"]


@pytest.mark.skipif(not has_data_server(), reason="no data server on this platform")
def test_more_than_the_data_server_sends_is_refused_too(tmp_path):
    _write_fast(tmp_path, [[b"", bytes(90 * 2**20)]] * 3)
    with serving(tmp_path, "rust") as tab:
        status, words = tab.refused("maps", run=".", probe="probe_00")
        assert status == 413 and "data server" in words
        assert tab.json("runs")["runs"][0]["probes"] == ["probe_00"]


@LOADERS
def test_of_too_many_summaries_some_are_sent_evenly_and_the_last(tmp_path, monkeypatch, loader):
    write_run(tmp_path / "cam", range(50), ["probe_00", "probe_01"])
    (size,) = {len(string) for string in records.encode_epoch(10, [probe_of("probe_00"), probe_of("probe_01")])}
    with serving(tmp_path, loader) as tab:
        assert tab.json("epochs", run="cam")["thinned"] == 0
        monkeypatch.setattr(log_reader, "MOST_BYTES", 20 * size)  # room for 15
        reply = tab.json("epochs", run="cam")
        assert [record["step"] for record in reply["epochs"]] == list(range(1, 50, 4)) and reply["thinned"] == 37
        assert len(tab.ask("epochs", run="cam").data) < 20 * size
        monkeypatch.setattr(log_reader, "MOST_BYTES", size // 2)  # not even for one
        status, words = tab.refused("epochs", run="cam")
    assert status == 413 and "keras_cam/epochs in run 'cam' holds" in words


def _write_fast(folder, series):
    """An event file of large records of maps; TensorBoard's own writer checks them at 5 MB a second."""
    tensorflow = pytest.importorskip("tensorflow")
    with tensorflow.io.TFRecordWriter(str(folder / "events.out.tfevents.1")) as file:
        file.write(event_pb2.Event(file_version="brain.Event:2").SerializeToString())
        for step, strings in enumerate(series):
            metadata = summary_pb2.SummaryMetadata(data_class=TENSOR)
            metadata.plugin_data.plugin_name, metadata.plugin_data.content = records.PLUGIN, records.content_of(MAPS)
            value = summary_pb2.Summary.Value(tag=TAG, tensor=tensor_util.make_tensor_proto(strings), metadata=metadata)
            file.write(event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[value])).SerializeToString())


# files that end too early


@LOADERS
def test_a_file_cut_at_any_byte_gives_what_is_whole(tmp_path, loader):
    write_run(tmp_path / "whole", range(3))
    (file,) = (tmp_path / "whole").iterdir()
    data = file.read_bytes()
    cuts = [*range(0, len(data), 61), len(data) - 1]
    for cut in cuts:
        (tmp_path / "log" / f"{cut:05d}").mkdir(parents=True)
        (tmp_path / "log" / f"{cut:05d}" / file.name).write_bytes(data[:cut])
    shown = []
    with serving(tmp_path / "log", loader) as tab:
        known = {run["run"]: run for run in tab.json("runs")["runs"]}
        for cut in cuts:
            if f"{cut:05d}" not in known:
                shown.append((0, 0))
                continue
            _, grids = unpack(tab.ask("maps", run=f"{cut:05d}", probe="probe_00").data)
            for step, grid in grids.items():
                np.testing.assert_array_equal(grid, maps_of(step).maps)
            epochs = tab.ask("epochs", run=f"{cut:05d}")
            assert epochs.status_code in (200, 404)
            shown.append((len(grids), len(epochs.get_json().get("epochs", ()))))
            assert known[f"{cut:05d}"]["epochs"] == (shown[-1][1] or None)
    assert shown == sorted(shown) and shown[0] == (0, 0) and shown[-1] == (3, 2)
    assert {maps for maps, _ in shown} == {0, 1, 2, 3}


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from support.tensorboard_server import PNG, write_step
from keras_cam.tensorboard.summary_writer import SummaryWriter
writer = SummaryWriter({directory!r})
for step in range(5):
    write_step(writer, step, picture=PNG + b"old" if step == 0 else None)
writer.flush()
print("ready", flush=True)
while True:
    write_step(writer, 5)
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Logs of a run that was killed while it wrote, and went on in its directory."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("no kill -9 on this system")
    folder = tmp_path_factory.mktemp("resumed")
    code = KILLED.format(tests=str(Path(__file__).parents[1]), directory=str(folder / "cam"))
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    (killed,) = (folder / "cam").iterdir()
    killed.rename(folder / "cam" / "events.out.tfevents.1")  # as if more than a second lay between the two
    writer = SummaryWriter(str(folder / "cam"))
    for step in range(4, 7):
        write_step(writer, step, picture=PNG + b"new" if step == 4 else None)
    writer.close()
    return folder


@LOADERS
def test_a_run_killed_while_it_writes_goes_on_in_its_directory(resumed, loader):
    with serving(resumed, loader) as tab:
        assert [record["step"] for record in tab.json("epochs", run="cam")["epochs"]] == list(range(7))
        _, grids = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
        picture = tab.ask("picture", run="cam", probe="probe_00", step=5).data
    assert list(grids) == list(range(7))
    np.testing.assert_array_equal(grids[5], maps_of(5).maps)
    assert picture == PNG + b"new"


# disks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_room_makes_the_next_record_start_a_new_file(small_disk, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # TensorBoard's thread ends with the error
    filler = small_disk / "filler"
    filler.write_bytes(bytes(40 * 1024))
    writer = SummaryWriter(str(small_disk / "cam"))
    with pytest.raises(Exception, match=r"No space left|failed to write|Resource exhausted"):
        for step in range(200):
            write_step(writer, step, picture=PNG + bytes(1000))
            writer.flush()
    filler.unlink()
    write_step(writer, step, picture=PNG)
    writer.close()
    assert len(list((small_disk / "cam").iterdir())) == 2
    with serving(small_disk) as tab:
        steps = [record["step"] for record in tab.json("epochs", run="cam")["epochs"]]
    assert 2 < step < 40 and steps[-1] == step and set(range(step - 1)) <= set(steps)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs a file system to close")
def test_a_disk_that_may_not_be_written_to_is_an_error_until_it_may(small_disk):
    def remount(mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", str(small_disk)], check=True)

    writer = SummaryWriter(str(small_disk / "cam"))
    remount("ro")
    with pytest.raises(Exception, match=r"(?i)read-only"):
        write_step(writer, 0)
    remount("rw")
    write_step(writer, 1)
    writer.close()
    with serving(small_disk) as tab:
        assert [record["step"] for record in tab.json("epochs", run="cam")["epochs"]] == [1]


# a plugin that is broken


@pytest.mark.parametrize(
    ("file", "code"),
    [("plugin.py", "this is no Python\n"), ("records.py", "import no_such_module\n"), ("log_reader.py", "1 / 0\n")],
)
def test_a_broken_plugin_leaves_tensorboard_and_its_other_tabs_alone(tmp_path, file, code):
    package = tmp_path / "package" / "keras_cam"
    keep = shutil.ignore_patterns("__pycache__")
    (package / "tensorboard").mkdir(parents=True)
    shutil.copy(Path(keras_cam.__file__), package)
    ours = Path(keras_cam.__file__).parent / "tensorboard"
    shutil.copytree(ours, package / "tensorboard", dirs_exist_ok=True, ignore=keep)
    (package / "tensorboard" / file).write_text(textwrap.dedent(code))
    write_run(tmp_path / "log" / "cam", [0])
    where = {"package": tmp_path / "package"}
    with tensorboard_process(tmp_path / "log", tmp_path / "env", "--load_fast=false", **where) as (address, said, _):
        plugins = strictly(fetch(f"{address}/data/plugins_listing")[2])
        assert "scalars" in plugins and "images" in plugins and "keras_cam" not in plugins
        assert fetch(f"{address}/data/plugin/keras_cam/runs")[0] == 404
        assert "TensorBoard runs without its CAM tab" in "".join(said)
        assert "Traceback" not in "".join(said)

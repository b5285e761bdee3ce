"""The routes of the CAM tab over real logs, with both of TensorBoard's loaders, in its application and its process."""

import json
import os
import re
import subprocess
import sys
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest
from support.tensorboard_server import (
    JPEG,
    PNG,
    Client,
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

from keras_cam.tensorboard import loader as loader_module
from keras_cam.tensorboard import records
from keras_cam.tensorboard.loader import KEPT, CAMLoader
from keras_cam.tensorboard.plugin import CAMPlugin
from keras_cam.tensorboard.summary_writer import SummaryWriter

RUST = pytest.param("rust", marks=pytest.mark.skipif(not has_data_server(), reason="no data server on this platform"))
LOADERS = pytest.mark.parametrize("loader", ["python", RUST])


# what the routes say


@LOADERS
@pytest.mark.parametrize("prefix", ["", "/a/b"])
def test_each_route_gives_what_was_written(tmp_path, loader, prefix):
    write_run(tmp_path / "first" / "cam", [0, 1, 4], ["probe_00", "probe_10", "probe_9"])
    with serving(tmp_path, loader, prefix) as tab:
        plugins = tab.get("plugins_listing").get_json()
        runs = tab.json("runs")
        epochs = tab.json("epochs", run="first/cam")
        maps = tab.ask("maps", run="first/cam", probe="probe_10")
        picture = tab.ask("picture", run="first/cam", probe="probe_9", step=3)
    assert plugins["keras_cam"]["enabled"] is True and plugins["keras_cam"]["tab_name"] == "CAM"
    assert plugins["keras_cam"]["loading_mechanism"]["module_path"] == f"{prefix}/data/plugin/keras_cam/index.js"
    (run,) = runs["runs"]
    assert abs(run.pop("wall_time") - os.stat(tmp_path).st_mtime) < 600
    assert run == {"run": "first/cam", "epochs": 5, "probes": ["probe_00", "probe_9", "probe_10"]} and runs["v"] == 1
    assert [(epochs["v"], epochs["run"], epochs["dropped"])] == [(1, "first/cam", 0)]
    assert [(record["step"], record["epoch"]) for record in epochs["epochs"]] == [(0, 0), (1, 1), (4, 4)]
    assert epochs["epochs"][1]["probes"][2] == probe_of("probe_9")
    assert abs(epochs["epochs"][0]["wall_time"] - os.stat(tmp_path).st_mtime) < 600
    header, grids = unpack(maps.data)
    assert maps.mimetype == "application/octet-stream" and (header["v"], header["dropped"]) == (1, 0)
    assert list(grids) == [0, 1, 4]
    np.testing.assert_array_equal(grids[4], maps_of(4).maps)
    about = header["steps"][2] | {"wall_time": 0}
    assert about == {
        "step": 4,
        "wall_time": 0,
        "shape": [2, 2, 3],
        "classes": [4, 7],
        "placement": [[-3.5, 8.0], [0.5, 4.0]],
        "field": [19.0, 0.0],
        "size": [40, 30],
        "offset": 24,
    }
    assert (picture.mimetype, picture.data) == ("image/png", PNG + b"0")
    assert all(reply.headers["X-Content-Type-Options"] == "nosniff" for reply in (maps, picture))


def keys_of(reply):
    """All keys of a reply, each behind those above it; what a reply calls by names of its own is data."""
    if isinstance(reply, list):
        return set().union(*map(keys_of, reply))
    if not isinstance(reply, dict):
        return set()
    inner = {key: [] if key in ("names", "numbers") else value for key, value in reply.items()}
    if "measures" in reply:
        inner["measures"] = list(reply["measures"].values())
    return {*reply, *(f"{key}.{below}" for key, value in inner.items() for below in keys_of(value))}


def test_the_page_about_the_routes_has_each_of_them_and_all_that_it_answers(tmp_path):
    page = (resources.files("keras_cam.tensorboard") / "http_api.md").read_text("utf-8")
    sections = dict(re.findall(r"(?ms)^## `/data/plugin/keras_cam/([a-z]+)[^`]*`$(.*?)(?=^## )", page))
    writer = SummaryWriter(str(tmp_path / "cam"))
    write_step(writer, 0, picture=PNG)
    measures = {"energy_inside": {"label": "energy", "about": "inside"}}
    writer.record(records.EPOCHS_TAG, records.EPOCHS, records.encode_epoch(1, [probe_of()], measures=measures), step=1)
    writer.close()
    with serving(tmp_path) as tab:
        replies = {"runs": tab.json("runs"), "epochs": tab.json("epochs", run="cam")}
        replies["maps"], _ = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
    routes = {route.strip("/") for route in CAMPlugin(SimpleNamespace(data_provider=None)).get_plugin_apps()}
    assert set(sections) == {route for route in routes if "." not in route} == {*replies, "picture"}
    for route, reply in replies.items():
        example = json.loads(re.search(r"(?s)```json\n(.*?)```", sections[route])[1])
        assert keys_of(example) == keys_of(reply)


@LOADERS
def test_every_epoch_is_kept_unless_the_user_says_otherwise(tmp_path, loader):
    write_run(tmp_path / "cam", range(150))
    with serving(tmp_path, loader) as tab:
        assert len(tab.json("epochs", run="cam")["epochs"]) == 150
        assert list(unpack(tab.ask("maps", run="cam", probe="probe_00").data)[1]) == list(range(150))
    with serving(tmp_path, loader, flags=["--samples_per_plugin=keras_cam=7"]) as tab:
        assert len(tab.json("epochs", run="cam")["epochs"]) == 7
    with serving(tmp_path, loader, flags=["--samples_per_plugin=keras_cam=0"]) as tab:
        assert len(tab.json("epochs", run="cam")["epochs"]) == 150


@LOADERS
def test_the_picture_that_holds_at_a_step(tmp_path, loader):
    writer = SummaryWriter(str(tmp_path / "cam"))
    for step, picture in ((2, PNG + b"2"), (3, None), (5, JPEG + b"5"), (9, PNG + b"9")):
        write_step(writer, step, picture=picture)
    writer.close()
    with serving(tmp_path, loader) as tab:
        asked = {
            step: tab.ask("picture", run="cam", probe="probe_00", step=step) for step in (-5, 0, 2, 4, 5, 8, 10**17)
        }
    tails = {step: reply.data[-1:] for step, reply in asked.items()}
    assert tails == {-5: b"2", 0: b"2", 2: b"2", 4: b"2", 5: b"5", 8: b"5", 10**17: b"9"}
    assert asked[5].mimetype == "image/jpeg" and asked[2].mimetype == "image/png"


@LOADERS
def test_half_precision_maps_and_maps_of_changing_classes_arrive_as_float32(tmp_path, loader):
    writer = SummaryWriter(str(tmp_path / "cam"))
    tag = records.tag_of("probe_00", records.MAPS)
    for step, classes in ((0, (1,)), (1, (3, 1, 2))):
        writer.record(tag, records.MAPS, half_precision(maps_of(step, classes)), step=step)
    writer.close()
    with serving(tmp_path, loader) as tab:
        header, grids = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
        assert tab.json("runs")["runs"] == [{"run": "cam", "epochs": None, "wall_time": None, "probes": ["probe_00"]}]
    assert [about["classes"] for about in header["steps"]] == [[1], [3, 1, 2]]
    assert [about["offset"] for about in header["steps"]] == [0, 6]
    np.testing.assert_allclose(grids[1], maps_of(1, (3, 1, 2)).maps, atol=0.05)


def test_numbers_that_are_none_reach_the_page_as_they_are(tmp_path):
    maps = np.array([[[np.nan, np.inf, -np.inf, -1.5]]], "<f4")
    writer = SummaryWriter(str(tmp_path / "cam"))
    tag, record = records.tag_of("probe_00", records.MAPS), maps_of(0)._replace(maps=maps, classes=(5,))
    writer.record(tag, records.MAPS, records.encode_maps(record), step=0)
    writer.close()
    with serving(tmp_path) as tab:
        np.testing.assert_array_equal(unpack(tab.ask("maps", run="cam", probe="probe_00").data)[1][0], maps)


# runs that start again


@LOADERS
@pytest.mark.parametrize("start", [0, 6], ids=["from the start", "from epoch 6"])
def test_a_run_that_starts_again_in_its_directory_shows_what_was_written_last(tmp_path, loader, start):
    """TensorBoard's Python loader shows both otherwise, and the first picture under the maps of the second."""
    for name, first, last, mark in (("a", 0, 9, b"old"), ("b", start, 8, b"new")):
        writer = SummaryWriter(str(tmp_path / "cam"))
        for step in range(first, last + 1):
            write_step(writer, step, picture=PNG + mark if step == first else None)
        writer.close()
        (written,) = (tmp_path / "cam").glob("events.out.tfevents.[0-9]*")
        written.rename(tmp_path / "cam" / f"events.out.tfevents.{name}")  # as if a second lay between them
    with serving(tmp_path, loader) as tab:
        steps = [record["step"] for record in tab.json("epochs", run="cam")["epochs"]]
        times = [record["wall_time"] for record in tab.json("epochs", run="cam")["epochs"]]
        _, grids = unpack(tab.ask("maps", run="cam", probe="probe_00").data)
        pictures = [tab.ask("picture", run="cam", probe="probe_00", step=step).data for step in (0, 5, 6, 8)]
    assert steps == list(grids) == list(range(9))
    assert times == sorted(times)
    assert pictures == [PNG + (b"new" if step >= start else b"old") for step in (0, 5, 6, 8)]


def test_steps_out_of_order_and_twice_are_put_in_order_and_the_last_one_wins(tmp_path):
    writer = SummaryWriter(str(tmp_path / "cam"))
    for step, epoch in ((4, 40), (2, 20), (7, 70), (2, 21), (0, 0)):
        writer.record(records.EPOCHS_TAG, records.EPOCHS, records.encode_epoch(epoch, []), step=step)
    writer.close()
    with serving(tmp_path) as tab:
        said = tab.json("epochs", run="cam")["epochs"]
    assert [(record["step"], record["epoch"]) for record in said] == [(0, 0), (2, 21), (4, 40), (7, 70)]


def test_a_writer_that_goes_on_where_it_stopped_takes_nothing_back(tmp_path):
    writer = SummaryWriter(str(tmp_path / "cam"))
    for step in range(4):
        write_step(writer, step, picture=PNG if step == 0 else None)
        writer.close()
    with serving(tmp_path) as tab:
        assert [record["step"] for record in tab.json("epochs", run="cam")["epochs"]] == [0, 1, 2, 3]


# names of all kinds


def deep(length):
    """A run of so many characters; one name may have 255 bytes."""
    name = "/".join(["d" * 199] * 10)[:length]
    return name[:-1] + "d" if name.endswith("/") else name


@LOADERS
@pytest.mark.parametrize(
    "run",
    ["<script>alert(1)</script>", "a b&c=d%2F#?", "..a/..", "Straße/猫🐈", "'`$()", deep(1000), "."],
    ids=lambda run: run[:12],
)
def test_a_run_of_any_name_is_found_by_it(tmp_path, loader, run):
    name = run.replace("/..", "/...")  # a directory may not be called ".."
    write_run(tmp_path / name, [0])
    with serving(tmp_path, loader) as tab:
        reply = tab.ask("runs")
        assert [each["run"] for each in strictly(reply.data)["runs"]] == [name]
        assert reply.mimetype == "application/json" and reply.data.isascii()
        assert tab.json("epochs", run=name)["run"] == name
        assert list(unpack(tab.ask("maps", run=name, probe="probe_00").data)[1]) == [0]
        assert tab.ask("picture", run=name, probe="probe_00", step=0).data == PNG + b"0"


@LOADERS
def test_the_data_server_cannot_send_the_pictures_of_some_runs_and_says_so(tmp_path, loader):
    run = 'a " and a \\'
    write_run(tmp_path / run, [0])
    with serving(tmp_path, loader) as tab:
        assert list(unpack(tab.ask("maps", run=run, probe="probe_00").data)[1]) == [0]
        reply = tab.ask("picture", run=run, probe="probe_00", step=0)
    assert reply.data == PNG + b"0" or (loader == "rust" and list(strictly(reply.data)) == ["error"])


@LOADERS
def test_a_run_whose_name_is_too_long_to_ask_for_is_not_offered(tmp_path, loader):
    write_run(tmp_path / deep(1001), [0])
    with serving(tmp_path, loader) as tab:
        assert tab.json("runs")["runs"] == []
        assert tab.refused("epochs", run=deep(1001))[0] == 400


# requests that are wrong


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write_run(folder / "cam", [0, 1])
    (folder / "secret").write_text("secret")
    with serving(folder) as client:
        yield client


@pytest.mark.parametrize(
    ("route", "query", "status", "words"),
    [
        ("epochs", {}, 400, "run must be"),
        ("epochs", {"run": ""}, 400, "0 came"),
        ("epochs", {"run": "x" * 1001}, 400, "1001 came"),
        ("epochs", {"run": "../cam"}, 404, "../cam"),
        ("epochs", {"run": "cam\0"}, 404, "no keras_cam/epochs"),
        ("epochs", {"run": "/etc/passwd"}, 404, "no keras_cam/epochs"),
        ("epochs", {"run": "<script>"}, 404, "<script>"),
        ("maps", {"run": "cam"}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "../../etc/passwd"}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "probe_00\0"}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "probe_00\n"}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "probe_\u0660\u0660"}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "probe_" + "0" * 10_000}, 400, "probe must be"),
        ("maps", {"run": "cam", "probe": "probe_01"}, 404, "no keras_cam/probe_01/maps"),
        ("maps", {"run": "dog", "probe": "probe_00"}, 404, "in run 'dog'"),
        ("maps", {"probe": "probe_00"}, 400, "run must be"),
        ("picture", {"run": "cam", "probe": "probe_00"}, 400, "step must be"),
        ("picture", {"run": "cam", "probe": "probe_00", "step": "1.5"}, 400, "step must be"),
        ("picture", {"run": "cam", "probe": "probe_00", "step": "٣"}, 400, "step must be"),
        ("picture", {"run": "cam", "probe": "probe_00", "step": "9" * 5000}, 400, "step must be"),
        ("picture", {"run": "cam", "probe": "probe_00", "step": "nan"}, 400, "step must be"),
        ("picture", {"run": "cam", "probe": "probe_02", "step": "0"}, 404, "no keras_cam/probe_02/pictures"),
    ],
    ids=str,
)
def test_a_wrong_request_is_told_so_in_words(tab, route, query, status, words):
    said = tab.refused(route, **query)
    assert said[0] == status and words in said[1]


@pytest.mark.parametrize("query", ["run=%FF%FE", "run=cam%00", "run", "=", "&&&", "run=%00&probe=probe_00%00", "%"])
@pytest.mark.parametrize("route", ["epochs", "maps", "picture"])
def test_a_query_that_is_no_text_is_told_so(tab, route, query):
    reply = tab._client.get(f"/data/plugin/keras_cam/{route}?{query}")
    assert reply.status_code in (400, 404) and list(reply.get_json()) == ["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_is_answered(tab, method):
    reply = tab._client.open("/data/plugin/keras_cam/runs", method=method)
    assert reply.status_code == 405 and reply.headers["Allow"] == "GET, HEAD"


def test_head_says_how_long_the_answer_is(tab):
    whole = tab.ask("maps", run="cam", probe="probe_00")
    head = tab._client.head("/data/plugin/keras_cam/maps?run=cam&probe=probe_00")
    assert head.status_code == 200 and head.data == b"" and head.content_length == len(whole.data)


# the page's own files


def test_the_pages_files_are_those_of_the_package_and_no_others(tab):
    from importlib import resources

    folder = resources.files("keras_cam.tensorboard") / "static"
    script = tab.ask("index.js")
    assert script.mimetype == "text/javascript" and script.data == (folder / "index.js").read_bytes()
    served = {route for route in CAMPlugin(SimpleNamespace(data_provider=None)).get_plugin_apps() if "." in route}
    assert served == {f"/{file.name}" for file in folder.iterdir() if file.name.endswith((".js", ".css"))}
    for route in served:
        assert tab.ask(route[1:]).mimetype == ("text/javascript" if route.endswith(".js") else "text/css")
    for path in ("static/index.js", "../plugin.py", "..%2Fplugin.py", "plugin.py", "index.js/", "secret", ""):
        assert tab.ask(path).status_code == 404 or path == "index.js/"


def test_an_error_of_our_own_is_words_and_no_traceback(caplog):
    """A data provider that gives what none should."""

    class Wrong:
        def list_tensors(self, *_, **__):
            return 3

    apps = CAMPlugin(SimpleNamespace(data_provider=Wrong())).get_plugin_apps()
    status, words = Client(lambda environ, start: apps["/runs"](environ, start)).refused("runs")
    assert status == 500 and "AttributeError" in words
    assert "runs failed" in caplog.text


# how TensorBoard loads it


def test_a_users_number_of_samples_wins():
    flags = SimpleNamespace(samples_per_plugin={"images": 5})
    CAMLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"images": 5, records.PLUGIN: KEPT}
    flags = SimpleNamespace(samples_per_plugin={records.PLUGIN: 3})
    CAMLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {records.PLUGIN: 3}


def test_a_tensorboard_of_another_kind_is_no_error(caplog):
    CAMLoader().fix_flags(SimpleNamespace())
    CAMLoader().fix_flags(SimpleNamespace(samples_per_plugin=None))
    assert caplog.text.count("samples_per_plugin could not be set") == 2
    assert CAMLoader().load(SimpleNamespace()) is None  # a context without a data provider
    assert "without its CAM tab" in caplog.text


def test_loading_the_entry_point_imports_nothing_heavy():
    code = f"import {loader_module.__name__}; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in run.stdout.split()}
    heavy = {"keras", "tensorflow", "jax", "torch", "cv2", "matplotlib", "PIL", "numpy"}
    assert found & heavy == set() and "tensorboard" in found
    ours = {name for name in run.stdout.split() if name.startswith("keras_cam")}
    assert ours == {"keras_cam", "keras_cam.tensorboard", "keras_cam.tensorboard.loader"}


def test_loading_the_plugin_imports_neither_keras_nor_a_backend():
    code = "import keras_cam.tensorboard.plugin; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & {"keras", "tensorflow", "jax", "torch", "cv2", "matplotlib", "PIL"} == set()


def test_the_tab_is_away_where_no_log_is_ours(tmp_path):
    writer = SummaryWriter(str(tmp_path / "cam"))
    writer.scalar("loss", 1.0, step=0)
    writer.close()
    with serving(tmp_path) as client:
        assert client.get("plugins_listing").get_json()["keras_cam"]["enabled"] is False
        assert client.json("runs") == {"v": 1, "runs": []}


# in a process of its own


@pytest.mark.parametrize(
    ("flags", "prefix", "tensorflow"),
    [
        pytest.param(["--load_fast=true"], "", False, marks=RUST.marks),
        pytest.param(["--load_fast=true"], "/some/where", False, marks=RUST.marks),
        (["--load_fast=false"], "/some/where", True),
        (["--load_fast=false"], "", False),
    ],
    ids=["data server", "data server, prefix", "python loader, prefix, TensorFlow", "python loader"],
)
def test_tensorboard_itself_shows_the_tab(tmp_path, flags, prefix, tensorflow):
    write_run(tmp_path / "log" / "a b" / "cam", range(12))
    given = [*flags, f"--path_prefix={prefix}", "--reload_interval=1"]
    with tensorboard_process(tmp_path / "log", tmp_path / "env", *given, tensorflow=tensorflow) as (address, said, _):
        assert address.endswith(prefix)
        while not json.loads(fetch(f"{address}/data/plugins_listing")[2])["keras_cam"]["enabled"]:
            assert "Traceback" not in "".join(said)
        base = f"{address}/data/plugin/keras_cam"
        runs = strictly(fetch(f"{base}/runs")[2])["runs"]
        status, _, body = fetch(f"{base}/maps?run=a%20b/cam&probe=probe_00")
        script = fetch(f"{base}/index.js")
        missing = fetch(f"{base}/picture?run=a%20b/cam&probe=probe_01&step=0")
        picture = fetch(f"{base}/picture?run=a+b%2Fcam&probe=probe_00&step=11")
    assert [(run["run"], run["epochs"], run["probes"]) for run in runs] == [("a b/cam", 12, ["probe_00"])]
    assert status == 200
    np.testing.assert_array_equal(unpack(body)[1][11], maps_of(11).maps)
    assert script[0] == 200 and script[1]["Content-Type"].startswith("text/javascript")
    assert missing[0] == 404 and "no keras_cam/probe_01/pictures" in strictly(missing[2])["error"]
    assert picture[2] == PNG + b"0" and picture[1]["Content-Type"] == "image/png"
    assert "Traceback" not in "".join(said)

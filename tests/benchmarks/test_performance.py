"""The benchmark of speed: its statistics by hand, each of its rows on a tiny model, and what it writes."""

import json
import os
import time

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import gpu, performance, processes, tasks
from benchmarks.forward import compiled_forward, plain_forward
from benchmarks.measured import EXCEEDED, HOLDS, NOISE, Measured, table_of
from benchmarks.pages import fill
from benchmarks.pairs import in_turns, sure_limits

SIDE = 32


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(40, 3, strides=8, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(12, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def setting(model):
    return tasks.Setting("tiny", model, SIDE, 0.01)


def rival(model):
    """Another implementation: it does nothing, fast."""
    return lambda images: images[..., 0]


# by hand


def test_things_take_turns_and_every_other_round_the_second_goes_first():
    calls = []
    pairs = in_turns(lambda: calls.append("a"), lambda: calls.append("b"), 0, 4, 4)
    assert "".join(calls[4:]) == "abbaabba" and calls[:2] == ["a", "b"]
    assert pairs.wall.shape == pairs.cpu.shape == (4, 2) and (pairs.wall > 0).all()


def test_ratio_and_difference_of_what_sleeps():
    pairs = in_turns(lambda: time.sleep(0.002), lambda: time.sleep(0.006), 0, 5, 5)
    assert 2 < np.median(pairs.ratios) < 4
    assert_allclose(pairs.ratios, pairs.wall[:, 1] / pairs.wall[:, 0])
    assert_allclose(pairs.extra, pairs.wall[:, 1] - pairs.wall[:, 0])
    assert pairs.cpu.sum() < pairs.wall.sum() / 4, "sleeping takes no time of the processor"


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for count in (11, 31, 101):
        limits = np.array([sure_limits(rng.exponential(size=count)) for _ in range(2000)])
        covered = ((limits[:, 0] <= np.log(2)) & (np.log(2) <= limits[:, 1])).mean()
        assert covered > 0.94
    assert sure_limits(np.array([3.0, 1.0])) == (1, 3)


def test_a_bound_is_exceeded_only_by_more_than_the_noise():
    quiet, control = np.linspace(1.09, 1.11, 31), np.linspace(0.995, 1.005, 31)
    assert Measured("what", "net", quiet, 1.2, control).verdict == HOLDS
    assert Measured("what", "net", quiet, 1.03, control).verdict == EXCEEDED
    assert Measured("what", "net", np.linspace(0.8, 1.4, 31), 1.03, control).verdict == NOISE  # spread
    assert Measured("what", "net", quiet, 1.03, control + 0.1).verdict == NOISE  # the forward pass is off as much
    assert Measured("what", "net", quiet).verdict == ""
    assert Measured("what", "", np.array([3.5, 3.6]), 3.0, np.array([0.4, -0.7]), "ms").verdict == NOISE
    assert Measured("what", "", np.array([3.5, 3.6]), 3.0, np.array([0.1, -0.1]), "ms").verdict == EXCEEDED


def test_table_by_hand():
    rows = [
        Measured("CAM", "net x1", np.array([1.0, 1.1, 1.2]), 1.15, np.array([0.9, 1.0, 1.1]), cpu=1.07),
        Measured("left", "net", np.array([0.5]), 1.0, unit="MB"),
    ]
    assert table_of(rows).splitlines()[2:] == [
        "| CAM | net x1 | 1.100 (1.050 to 1.150) | 1.07 | 1.000 | 1.150 | yes |",
        "| left | net | 0.5 MB |  |  | 1.0 MB | yes |",
    ]
    assert json.loads(json.dumps(rows[0].as_json()))["values"] == [1.0, 1.1, 1.2]


def test_tables_are_filled_in_between_their_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- one, written by python -m benchmarks -->\nold\n<!-- end of one -->\nAfter.\n")
    fill(page, {"one": "| new |"})
    fill(page, {"one": "| newer |"})
    assert page.read_text() == (
        "Before.\n<!-- one, written by python -m benchmarks -->\n| newer |\n<!-- end of one -->\nAfter.\n"
    )
    with pytest.raises(SystemExit, match="no place for the table 'two'"):
        fill(page, {"two": ""})


# on a tiny model


def test_the_plain_forward_pass_is_the_model(model):
    images = np.random.default_rng(0).normal(size=(3, SIDE, SIDE, 3)).astype("float32")
    expected = model.predict(images, verbose=0)
    assert_allclose(plain_forward(model)(images), expected, rtol=1e-5)
    assert_allclose(keras.ops.convert_to_numpy(compiled_forward(model)(images)), expected, rtol=1e-5)


def test_everything_that_is_done_with_a_batch(setting):
    rows = list(tasks.batch_rows(setting, [2], ["test_performance:rival"]))
    assert [row.what for row in rows] == [*(task.what for task in tasks.TASKS), "test_performance:rival"]
    assert all(row.model == "tiny x2" and (row.values > 0).all() and len(row.control) >= 11 for row in rows)
    bounds = {row.what: row.bound for row in rows}
    assert bounds["CAM, top-1, native grid"] == 1.03 and bounds["CAMs of all classes"] is None
    assert tasks.TASKS[2].bound_of("ResNet50") == 1.05 and bounds["test_performance:rival"] is None
    assert rows[-1].quartiles[1] < rows[0].quartiles[1]


def test_methods_that_look_at_each_channel(setting):
    score, ablation = tasks.masking_rows(setting)
    for row in (score, ablation):
        assert row.bound == 1.05 and (row.values > 0).all() and "(channels + 1)" in row.what


def test_pictures_and_data_sets(setting):
    heatmap, overlay = tasks.picture_rows(setting)
    assert (heatmap.unit, heatmap.bound, overlay.bound) == ("ms", 3, 5) and np.median(overlay.values) > 0
    (stream,) = tasks.stream_rows(setting)
    assert stream.bound == 1.05 and (stream.values > 0).all()
    assert sum(len(batch) for batch in iter(tasks.data_set(np.zeros((40, 4, 4, 3), "float32")))) == 40


def test_what_a_batch_holds():
    layers = [keras.layers.Conv2D(5, 3, 4, "same"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7)]
    model = keras.Sequential([keras.Input((8, 16, 3)), *layers])
    features, maps, scores, shown, fed = 2 * 4 * 5 * 4, 2 * 4 * 4, 2 * 7 * 4, 8 * 16 * 3, 8 * 16 * 3 * 4
    assert tasks.held_by(model, 3) == 3 * (features + maps + scores + shown + fed)


def test_a_run_writes_its_page_and_fails_where_it_is_asked_to(tmp_path, monkeypatch, capsys):
    rows = [Measured("CAM", "net", np.linspace(1.4, 1.5, 31), 1.03, np.ones(31)), Measured("import", "", np.ones(3))]
    monkeypatch.setattr(performance, "rows_of", lambda chosen: iter(rows))
    page, file = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text("<!-- mine, written by python -m benchmarks --><!-- end of mine -->")
    assert performance.main(["--page", str(page), "--table", "mine", "--json", str(file)]) == rows
    assert "| CAM | net | 1.450" in page.read_text() and "Python 3." in page.read_text()
    found = json.loads(file.read_text())
    assert found["rows"][0]["verdict"] == EXCEEDED and "cores of" in found["machine"]
    assert capsys.readouterr().out.startswith(f"{os.cpu_count()} cores of")
    with pytest.raises(SystemExit, match=r"Slower than it should be:\nnet .* at most 1\.030: no"):
        performance.main(["--guard"])
    monkeypatch.setattr(performance, "rows_of", lambda chosen: iter(rows[1:]))
    performance.main(["--guard"])


def test_some_rows_can_be_measured_anew(tmp_path, monkeypatch, capsys):
    old = [
        Measured("CAM", "net", np.full(31, 1.5), 1.03, np.ones(31)),
        Measured("memory", "net", np.ones(3), unit="MB"),
    ]
    new = [Measured("CAM", "net", np.full(31, 1.01), 1.03, np.ones(31), cpu=1.0), Measured("import", "", np.ones(3))]
    page, file = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text("<!-- performance, written by python -m benchmarks --><!-- end of performance -->")
    for rows, update in ((old, []), (new, ["--update"])):
        monkeypatch.setattr(performance, "rows_of", lambda chosen, rows=rows: iter(rows))
        assert performance.main(["--json", str(file), "--page", str(page), *update]) == rows
    found = json.loads(file.read_text())
    assert [(row["what"], row["median"]) for row in found["rows"]] == [("CAM", 1.01), ("memory", 1), ("import", 1)]
    assert "; 2 rows anew: 0 minutes" in found["machine"] and "| CAM | net | 1.010 (1.010 to 1.010)" in page.read_text()
    with pytest.raises(SystemExit):
        performance.main(["--update", "--json", str(tmp_path / "none.json")])
    assert "--update needs --json" in capsys.readouterr().err


def test_quick_is_smaller_where_nothing_else_is_said():
    assert performance.parsed(["--quick"]).models == ["MobileNetV2"]
    assert performance.parsed(["--quick", "--batches", "4"]).batches == [4]
    assert performance.parsed([]).models == list(performance.MODELS)


# in processes of their own


def test_numbers_of_other_processes():
    assert 0 < processes.import_row(1).values[0] < 5000
    assert processes.run("import sys; print('words'); print(float(sys.argv[1]) / 4)", 6) == 1.5
    with pytest.raises(RuntimeError, match="no such luck"):
        processes.run("raise SystemExit('no such luck')")


def test_a_program_runs_and_the_peak_of_memory_is_the_processs_own():
    """And not the peak of the one that has started it, which may be larger. To start one takes seconds: both in one."""
    grown = "before = peak(); kept = np.ones(2**25); grown = peak() - before; assert 200 < grown / 2**20 < 300, grown\n"
    assert processes.run(processes.START + grown + processes.PROGRAMS["first CAM"], "MobileNetV2", SIDE, 1, 5) > 0


def test_what_each_call_keeps_is_seen():
    """By the program `growth`, and not what is taken once."""
    call = "keras_cam.compute_cam(model, picture, index % 7)\n    if"
    keep = "kept.append(np.ones(2**17 if kept else 2**24))\n    if"
    program = "kept = []\n" + processes.PROGRAMS["growth"].replace(call, keep)
    assert keep in program
    assert 19 < processes.run(processes.START + program, "MobileNetV2", SIDE, 1, 20) / 2**20 < 25


# on an accelerator, where there is one


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS", 0.0005)


def test_gpu_tables(hasty, tmp_path):
    page, file = tmp_path / "page.md", tmp_path / "gpu.json"
    page.write_text("<!-- gpu, written by python -m benchmarks --><!-- end of gpu -->")
    small = ["--models", "--batches", "1", "2", "--seconds", "0.01", "--copied", "4096"]
    rows, moved = gpu.main([*small, "--page", str(page), "--json", str(file)])
    assert rows == [] and [(row.batch, row.dtype) for row in moved] == [
        (batch, dtype) for dtype in ("float32", "bfloat16") for batch in (1, 2)
    ]
    # 7 x 7 x 2048 features and 2048 weights read, 7 x 7 sums written
    assert_allclose(
        [row.mebibytes * 2**20 for row in moved[::2]], [4 * (49 * 2048 + 2048 + 49), 2 * 49 * 2048 + 4 * 2097]
    )
    assert "share of a plain copy" in page.read_text() and len(json.loads(file.read_text())["operation"]) == 4
    assert all((row.bandwidth > 0).all() and (row.share > 0).all() for row in moved)
    assert keras.config.dtype_policy().name == "float32"


def test_gpu_forward_passes(hasty):
    rows, _ = gpu.main(
        [
            "--models",
            "MobileNetV2",
            "--batches",
            "1",
            "--dtypes",
            "float32",
            "--side",
            "32",
            "--seconds",
            "0.01",
            "--copied",
            "4096",
        ]
    )
    assert [row.model for row in rows] == ["MobileNetV2 x1, float32"] and (rows[0].values > 0).all()


def test_the_gpu_script_needs_keras_and_a_backend_alone():
    code = (
        "import sys\n"
        "for name in ('cv2', 'PIL', 'matplotlib', 'tensorboard'): sys.modules[name] = None\n"
        "import benchmarks.gpu as gpu\n"
        "gpu.main(['--models', '--batches', '1', '--seconds', '0.01', '--copied', '4096'])\n"
        "print(0)"
    )
    assert processes.run(code) == 0

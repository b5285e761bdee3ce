"""The command line: what it prints, what it returns, and that it stays light until it works."""

import subprocess
import sys

import pytest

import keras_cam
from keras_cam.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"keras-cam {keras_cam.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "demo" in text and text.count("\n") > 5


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["demo", "--no-such-option"]])
def test_wrong_words(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: keras-cam" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--out", "{file}"]])
def test_what_cannot_be_done_is_said_in_one_line(options, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["demo", *(option.format(file=file) for option in options)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-cam: ") and captured.err.count("\n") == 1
    assert "Received" in captured.err


def test_version_does_not_load_tensorflow():
    code = "import sys, keras_cam.cli; print({'tensorflow', 'keras', 'numpy', 'cv2'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"

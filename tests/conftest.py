"""What every test stands on: one thread a worker, no GPU unless asked for, the same seed, and the shared data."""

import os
import sys
from pathlib import Path

import pytest

# Read by TensorFlow and OpenMP when they are first imported, so set here, before any test module is. Two workers on
# two cores are slower with more threads than this, not faster. A run on a GPU sets CUDA_VISIBLE_DEVICES itself.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.append(
    str(Path(__file__).resolve().parents[1])
)  # for benchmarks; last, so that keras_cam is the installed one

# No doctests are in these, and pytest 9.2 takes one for another where it looks for them.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    """Ignore by its words what pytest.warns hands on without the module that setup.cfg goes by."""
    if os.environ.get("KERAS_BACKEND") == "torch":  # where Keras 3.15 makes an array of every tensor so
        words = "__array__ implementation doesn't accept a copy keyword"
        config.addinivalue_line("filterwarnings", f"ignore:{words}:DeprecationWarning")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep tests that share a model, a browser or a training on one worker."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from support.scheduling import SharingScheduling

    return SharingScheduling(config, log)


SEED = int(os.environ.get("TEST_SEED", "0"))  # another one shows which tests hold by luck


def seed():
    """Start all random numbers anew, where Keras is loaded."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(SEED)


@pytest.fixture(autouse=True)
def same_seed():
    """Give each test the same random weights whichever worker it runs on and whatever ran before it."""
    seed()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """Give what several tests share the same random weights too; it is made before any test's own seed is set."""
    if fixturedef.scope != "function":
        seed()


@pytest.fixture(scope="session")
def tf():
    """TensorFlow, for a test of what is TensorFlow's own; skips where Keras runs on another backend."""
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"a test of TensorFlow's own; Keras runs on {keras.backend.backend()}")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the pictures that lie beside the project's checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no pictures at {SHARED_DATA}: they lie beside the project's own checkout only")
    return SHARED_DATA

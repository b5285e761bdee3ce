"""The package as a whole: what importing it costs, what it exports, which way its imports run, how it is described."""

import ast
import configparser
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.layout import circle_in, floors_of, imports, modules_of, rooms_of, uses_of

import keras_cam

PACKAGE = Path(keras_cam.__file__).parent
PROJECT = Path(__file__).resolve().parents[1]

# From the top down. A room (a folder of the package, or a module beside the folders) imports only from the lines below
# its own, and never from its own line; docs/architecture.md says what is in each.
FLOORS = (
    ("cli",),
    ("demo",),
    ("training",),
    ("probes",),
    ("explainer",),
    ("methods",),
    ("attribution", "results"),
    ("model", "drawing"),
    ("graph", "imaging", "tensorboard", "targets", "classes", "shapes"),
    ("validation",),
    ("errors", "backend"),
)
HEIGHT = {room: height for height, rooms in enumerate(reversed(FLOORS)) for room in rooms}
MOST_ROOMS, MOST_FLOORS = 21, 11
ARRAYS_ALONE = {  # rooms that never see a model, nor Keras, and what they may see
    "imaging": {"imaging", "validation", "errors"},
    "drawing": {"drawing", "imaging", "validation", "errors"},
}
USES = uses_of(PACKAGE)

HEAVY = {"tensorflow", "keras", "jax", "torch", "cv2", "matplotlib", "PIL", "numpy", "tensorboard"}
BACKENDS = {"tensorflow", "jax", "torch"}


def files():
    """Yield (room, path, syntax tree) of every file of the package; its own `__init__`, which sees all, has no room."""
    for module, path in modules_of(PACKAGE).items():
        room = module.split(".")[1] if "." in module else None
        yield room, path.relative_to(PACKAGE), ast.parse(path.read_text("utf-8"))


def loaded_after(statement):
    """Top-level modules in a fresh process after the statement."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


# what importing costs


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import keras_cam; dir(keras_cam)") & HEAVY == set()


def test_imaging_and_drawing_load_neither_keras_nor_a_backend():
    rooms = [module for module in USES if module.startswith(tuple(f"keras_cam.{room}" for room in ARRAYS_ALONE))]
    assert loaded_after(f"import {', '.join(rooms)}") & (BACKENDS | {"keras", "matplotlib"}) == set()


def test_tensorboard_package_loads_the_standard_library_only():
    """TensorBoard loads our plugin in its own process, where Keras has no business."""
    assert loaded_after("import keras_cam.tensorboard") & HEAVY == set()


def test_the_command_explains_itself_without_keras():
    assert loaded_after("import keras_cam.cli") & (BACKENDS | {"keras"}) == set()


# what it exports


@pytest.mark.parametrize("name", keras_cam.__all__)
def test_public_name_is_reachable(name):
    assert getattr(keras_cam, name) is getattr(keras_cam, name)
    assert name in dir(keras_cam)


def test_public_names_are_listed_once():
    assert len(keras_cam.__all__) == len(set(keras_cam.__all__))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = keras_cam.no_such_name


def test_type_checkers_see_every_public_name():
    """The names are loaded at first use; mypy reads them from the imports under TYPE_CHECKING."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    found = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    seen = {alias.asname or alias.name for alias in found}
    submodules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert set(keras_cam.__all__) - submodules - seen - {"__version__"} == set()


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("keras-cam")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("keras-cam is imported from a checkout, not installed")
    assert keras_cam.__version__ == installed


def test_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


# which way the imports run


def test_every_room_has_its_floor():
    assert set(rooms_of(USES)) - {"__main__"} == set(HEIGHT), (
        "a room has its place in FLOORS and in docs/architecture.md"
    )


def test_imports_run_downwards():
    bad = []
    for room, path, tree in files():
        for name, line in imports(tree):
            where = f"{path}:{line} imports {name}"
            if room is None or name == "keras_cam.__version__":
                continue
            imported = name.split(".")[1] if name.startswith("keras_cam.") else None
            if name.startswith(".") or name == "keras_cam" or (imported and imported not in HEIGHT):
                bad.append(f"{where}: write `from keras_cam.package.module import name`")
            elif imported and imported != room and HEIGHT[imported] >= HEIGHT[room]:
                bad.append(f"{where}, which is not below it")
    assert bad == []


def test_arrays_never_meet_a_model():
    bad = [
        f"{path}:{line} imports {name}"
        for room, path, tree in files()
        if room in ARRAYS_ALONE
        for name, line in imports(tree)
        if name.partition(".")[0] == "keras"
        or (name.startswith("keras_cam.") and name.split(".")[1] not in ARRAYS_ALONE[room])
    ]
    assert bad == []


@pytest.mark.parametrize("package", [PACKAGE, PROJECT / "benchmarks"], ids=lambda package: package.name)
def test_no_circle(package):
    """Of modules, inside a folder neither."""
    assert circle_in(uses_of(package)) == []


def test_the_layout_stays_small():
    rooms = rooms_of(USES)
    assert len(rooms) <= MOST_ROOMS and max(floors_of(rooms).values()) <= MOST_FLOORS


def test_layout_by_hand(tmp_path):
    """Two rooms, of which one is a folder: `low` is imported inside a function, and once more through its folder."""
    package = tmp_path / "house"
    (package / "high").mkdir(parents=True)
    (package / "__init__.py").write_text("from house.high.top import name")
    (package / "low.py").write_text("name = 1")
    (package / "high" / "__init__.py").write_text("")
    (package / "high" / "top.py").write_text("from house.high import side\ndef f():\n    from house.low import name")
    (package / "high" / "side.py").write_text("from typing import TYPE_CHECKING")
    uses = uses_of(package)
    assert uses["house.high.top"] == {"house.high.side", "house.low"} and uses["house"] == {"house.high.top"}
    assert rooms_of(uses) == {"high": {"low"}, "low": set()}
    assert floors_of(rooms_of(uses)) == {"low": 1, "high": 2} and circle_in(uses) == []
    (package / "high" / "side.py").write_text("if TYPE_CHECKING:\n    from house.high.top import f")
    assert circle_in(uses_of(package)) == ["house.high.top", "house.high.side", "house.high.top"]


def test_only_the_backend_file_knows_the_backends():
    bad = [
        f"{path}:{line} imports {name}"
        for room, path, tree in files()
        for name, line in imports(tree)
        if room != "backend" and name.partition(".")[0] in BACKENDS
    ]
    assert bad == []


def test_files_stay_small():
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in modules_of(PACKAGE).items()}
    assert {module: length for module, length in lengths.items() if length > 300} == {}


# how it is described


PUBLIC_PACKAGES = ("keras_cam", "keras_cam.drawing", "keras_cam.imaging", "keras_cam.training")


def public_things():
    """Yield (name, thing) of all that the public packages export, each thing once, by the name nearest to the top."""
    seen = []
    for package in map(importlib.import_module, PUBLIC_PACKAGES):
        for name in package.__all__:
            thing = getattr(package, name)
            if not any(thing is known for known in seen):
                seen.append(thing)
                yield f"{package.__name__}.{name}".removeprefix("keras_cam."), thing


def public_functions():
    """Yield (name, function, docstring that documents its arguments) of all that a user may call."""
    for name, thing in public_things():
        if inspect.isfunction(thing):
            yield name, thing, thing.__doc__
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            yield name, thing.__init__, thing.__doc__
            ours = [base for base in thing.__mro__ if base.__module__.startswith("keras_cam.")]  # mixins included
            for method_name, method in (item for base in ours for item in vars(base).items()):
                method = getattr(method, "__func__", method)
                if inspect.isfunction(method) and not method_name.startswith(("_", "on_")):
                    yield f"{name}.{method_name}", method, method.__doc__


DOCUMENTED = list(public_functions())


@pytest.mark.parametrize(("name", "function", "docstring"), DOCUMENTED, ids=[name for name, *_ in DOCUMENTED])
def test_public_function_is_documented_and_typed(name, function, docstring):
    signature = inspect.signature(function)
    arguments = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "cls")]
    untyped = [each.name for each in arguments if each.annotation is inspect.Parameter.empty]
    assert untyped == [], f"{name}: no type for {untyped}"
    assert docstring and docstring.strip(), f"{name}: no docstring"
    if arguments:
        section = docstring.partition("Args:")[2] or docstring.partition("Attributes:")[2]
        unnamed = [each.name for each in arguments if not re.search(rf"\b{each.name}\b.*:", section)]
        assert unnamed == [], f"{name}: Args say nothing of {unnamed}"
    if function.__name__ != "__init__" and signature.return_annotation not in (None, "None"):
        assert "Returns:" in docstring or "Yields:" in docstring, f"{name}: no Returns"


@pytest.mark.parametrize("package", PUBLIC_PACKAGES[1:])
def test_public_package_lists_what_it_has(package):
    module = importlib.import_module(package)
    assert len(module.__all__) == len(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


EXAMPLES = {
    name: thing.__doc__
    for name, thing in public_things()
    if name.startswith(("drawing.", "imaging.")) and inspect.isfunction(thing)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_public_function_of_arrays_has_an_example(name):
    assert ">>>" in EXAMPLES[name], f"{name}: no example"


def test_lowest_versions_are_the_tested_ones():
    setup, tox = configparser.ConfigParser(), configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    tox.read(PROJECT / "tox.ini")
    stated = {
        requirement.name: next(bound.version for bound in requirement.specifier if bound.operator == ">=")
        for requirement in map(Requirement, setup["options"]["install_requires"].split())
    }
    pinned = dict(line.split("==") for line in tox["testenv:lowest"]["deps"].splitlines() if "==" in line)
    assert pinned == stated

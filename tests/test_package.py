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

import keras_cam

PACKAGE = Path(keras_cam.__file__).parent
PROJECT = Path(__file__).resolve().parents[1]

# The house of the design, top to bottom. A stage imports from the lines above its own, never from its own line.
STAGES = (
    ("errors",),
    ("backend", "kept"),
    # the model
    ("program",),
    ("operations", "targets"),
    ("recording",),
    ("flatten",),
    ("places", "rewrite"),
    ("axes",),
    ("aiming",),
    ("graph",),
    ("affine", "frozen"),
    ("head",),
    ("geometry",),
    ("submodel", "inspection"),
    # the maths
    ("cam_op",),
    ("attribute", "interpolate"),
    ("network",),
    ("backward",),
    ("methods",),
    ("maps", "regrid"),
    ("mapper",),
    # pixels
    ("images",),
    ("shown", "heatmap", "attention", "text", "fitting"),
    ("colors", "boxes"),
    ("render",),
    ("card", "panel", "notebook"),
    ("plot",),
    ("signal", "volume"),
    ("manners",),
    # the result
    ("classes", "batches", "inputs", "archive", "located"),
    ("drawn",),
    ("explanation",),
    ("diagnosis", "film"),
    ("explainer",),
    ("calls",),
    # doors
    ("shapes", "spread", "files", "labels", "truth", "tensorboard"),
    ("probes",),
    ("worst", "looks", "schedule", "reports"),
    ("alarm", "watching", "sinks"),
    ("viewer",),
    ("callback",),
    ("demo",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(STAGES) for name in names}
PIXELS = {"images", "shown", "fitting", "heatmap", "attention", "text", "colors", "boxes", "render", "card", "panel"}
PIXELS |= {"plot", "notebook", "signal", "volume", "manners"}
DOORS = {"__init__", "__main__"}  # they see everything; others see the version there and nothing else

HEAVY = {"tensorflow", "keras", "jax", "torch", "cv2", "matplotlib", "PIL", "numpy", "tensorboard"}
BACKENDS = {"tensorflow", "jax", "torch"}


def modules():
    """Yield (stage, path, syntax tree) of every file of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path, ast.parse(path.read_text("utf-8"))


def imports(tree):
    """Yield (module, line) of every import in the file, at any depth, `importlib.import_module("...")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (
                (f"{module}.{alias.name}" if module == "keras_cam" else module, node.lineno) for alias in node.names
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((argument.value, node.lineno) for argument in node.args if isinstance(argument, ast.Constant))


def loaded_after(statement):
    """Top-level modules in a fresh process after the statement."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


# what importing costs


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import keras_cam; dir(keras_cam)") & HEAVY == set()


def test_pixels_load_neither_keras_nor_a_backend():
    names = ", ".join(f"keras_cam.{name}" for name in sorted(PIXELS))
    assert loaded_after(f"import {names}") & (BACKENDS | {"keras", "matplotlib"}) == set()


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


def test_every_file_has_its_place_in_the_house():
    strangers = sorted({stage for stage, _, _ in modules()} - set(RANK) - DOORS)
    assert strangers == [], "give each new file a line in STAGES (and in the design)"


def test_imports_run_one_way():
    bad = []
    for stage, path, tree in modules():
        for module, line in imports(tree):
            where = f"{path.relative_to(PACKAGE)}:{line} imports {module}"
            imported = module.split(".")[1] if module.startswith("keras_cam.") else None
            if stage not in RANK or module == "keras_cam.__version__":
                continue
            if module.startswith(".") or module == "keras_cam" or (imported and imported not in RANK):
                bad.append(f"{where}: write `from keras_cam.stage import name`")
            elif imported and imported != stage and RANK[imported] >= RANK[stage]:
                bad.append(where)
            elif imported and stage in PIXELS and imported not in PIXELS | {"errors"}:
                bad.append(f"{where}: pixels never see a model")
    assert bad == []


def test_only_the_backend_file_knows_the_backends():
    bad = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for stage, path, tree in modules()
        for module, line in imports(tree)
        if stage != "backend" and module.partition(".")[0] in BACKENDS
    ]
    assert bad == []


def test_files_stay_small():
    long = {str(path.relative_to(PACKAGE)): len(path.read_text("utf-8").splitlines()) for _, path, _ in modules()}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


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

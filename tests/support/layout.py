"""The layout of a package, measured by its own imports: rooms, floors, circles.

A room is a module at the top of the package or a folder in it. A floor is one more than the highest floor below.
Imports inside functions and those for type checkers alone count too, since a reader follows them as well.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]


def modules_of(package: Path) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of what a file imports, at any depth, `importlib.import_module("...")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((argument.value, node.lineno) for argument in node.args if isinstance(argument, ast.Constant))


def uses_of(package: Path) -> Graph:
    """The modules of the package that each of its modules imports."""
    modules = modules_of(package)

    def module_of(name: str) -> str:
        while name and name not in modules:  # a name that a module exports
            name = name.rpartition(".")[0]
        return name

    return {
        module: {module_of(name) for name, _ in imports(ast.parse(path.read_text("utf-8")))} - {module, ""}
        for module, path in modules.items()
    }


def rooms_of(uses: Graph) -> Graph:
    """The rooms that each room imports from; the package's own `__init__`, which sees all, is none."""
    rooms: dict[str, set[str]] = {}
    for module, imported in uses.items():
        _, *room = module.split(".")
        if room:
            targets = {name.split(".")[1] for name in imported if "." in name}
            rooms.setdefault(room[0], set()).update(targets - {room[0]})
    return rooms


def floors_of(rooms: Graph) -> dict[str, int]:
    """The floor of each room, the lowest is 1; there must be no circle."""
    floors: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in floors:
            floors[room] = 1 + max(map(floor, rooms[room]), default=0)
        return floors[room]

    for room in rooms:
        floor(room)
    return floors


def circle_in(uses: Graph) -> list[str]:
    """A way from a module back to itself, or nothing where there is none."""
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        found = next(filter(None, (follow(imported, [*way, module]) for imported in sorted(uses[module]))), [])
        done.add(module)
        return found

    return next(filter(None, (follow(module, []) for module in sorted(uses))), [])

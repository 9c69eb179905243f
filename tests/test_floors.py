"""The rooms: a file imports only from lower floors, no two files import each other in a circle,
and only the rooms that compose and launch know Hydra."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import sae_cli

PACKAGE = Path(sae_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "core": 1,
    **dict.fromkeys(("model", "datasets", "pictures", "run_folder", "trackers"), 2),
    "training": 3,
    "config": 4,
    "assembly": 5,
    "results": 6,
    "runs": 7,
    "commands": 8,
    # The package itself: load_run, the commands' names, and what authors of plug-ins import.
    **dict.fromkeys(("__init__", "__main__", "plugins", "testing"), 9),
}
KNOW_HYDRA = {"config", "commands"}
MOST_LINES = 250


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imported(file: Path) -> set[str]:
    """Dotted names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # A name in a package is a module of it, or something that the package defines.
            names |= {name if name in MODULES else node.module for name in inner}
    return names


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} == set(FLOORS)


def test_files_import_only_from_lower_floors() -> None:
    upwards = [
        f"{module} imports {name}"
        for module, file in MODULES.items()
        for name in imported(file) & set(MODULES)
        if room_of(name) != room_of(module) and FLOORS[room_of(name)] >= FLOORS[room_of(module)]
    ]
    assert upwards == []


def test_no_files_import_each_other_in_a_circle() -> None:
    # A package loads its modules, and they name it: that circle is the registry's.
    graph = {
        module: {name for name in imported(file) & set(MODULES) if MODULES[name].stem != "__init__"}
        for module, file in MODULES.items()
    }
    list(TopologicalSorter(graph).static_order())


def test_only_the_rooms_that_compose_and_launch_know_hydra() -> None:
    knowing = {
        room_of(module)
        for module, file in MODULES.items()
        if any(name.split(".")[0] == "hydra" for name in imported(file))
    }
    assert knowing <= KNOW_HYDRA


def test_files_are_short() -> None:
    long = [str(file) for file in FILES if len(file.read_text().splitlines()) > MOST_LINES]
    assert long == []


def test_every_package_says_what_lives_there_and_what_may_not() -> None:
    for package in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(package.read_text()))
        assert text is not None and len(text.split("\n\n")) >= 2, package

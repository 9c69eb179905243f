"""A file imports only from lower floors, and only the top floor knows Hydra."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sae_cli"

FLOORS = [
    {
        *("registry", "options", "shapes", "tables", "errors", "differing", "plain_yaml"),
        "published",
        *("lock", "stopping", "run_files", "folder_names"),
    },
    {
        *("activations", "autoencoder", "penalties", "corruptions", "reconstruction"),
        *("initialisation", "norm_bounds", "heads", "optimizers", "lr_schedules", "metrics"),
        *("pools", "topography", "proximal", "angles"),
    },
    {"architectures", "datasets", "inference", "objective", "schedules", "supervision"},
    {
        *("gradients", "chain", "profiling", "compiled", "step", "loop", "operations"),
        *("checkpoints", "run_folder", "pictures", "devices", "environment", "console"),
    },
    {"config", "saved_config", "saved_model", "network", "parts", "build", "engine"},
    {"run", "saving", "draw", "draw_codes", "stage"},
    {
        *("train", "load", "resume", "comparing", "reproduce", "exits"),
        *("report", "report_page"),
        *("pages", "hydra_settings", "compose", "arguments", "messages"),
    },
    {"sweep", "sweep_jobs", "launch", "cli", "reproduce_cli", "report_cli"},
    {"__init__", "__main__"},
]
HYDRA = {"pages", "hydra_settings", "compose", "messages", "launch", "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(part: str) -> int:
    (found,) = [number for number, parts in enumerate(FLOORS) if part in parts]
    return found


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_only_from_lower_floors(file: Path) -> None:
    own = part_of(file)
    for name in imported(file):
        if name.startswith("sae_cli."):
            other = name.split(".")[1]
            # `from sae_cli import build` names a part, `import load_run` the package itself.
            if other != own and any(other in parts for parts in FLOORS):
                assert floor_of(other) <= floor_of(own), f"{own} imports {other} from above"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_commands_know_hydra(file: Path) -> None:
    if any(name.split(".")[0] == "hydra" for name in imported(file)):
        assert part_of(file) in HYDRA


def test_no_part_of_a_floor_is_gone() -> None:
    assert {part for parts in FLOORS for part in parts} == {part_of(file) for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 250

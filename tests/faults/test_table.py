"""``docs/faults.md`` has a row for each test of a fault, and a test for each row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

TABLE = CHECKOUT / "docs" / "faults.md"
COLUMNS = ["fault", "what you see", "exit code", "what survives", "test"]


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [cells for cells in found if cells != COLUMNS and not cells[0].startswith("---")]


def functions_in(folder: Path) -> set[str]:
    """Every test as ``file::function``, the file from the folder of all tests."""
    return {
        f"{file.relative_to(CHECKOUT / 'tests').as_posix()}::{node.name}"
        for file in folder.rglob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def names_in_table() -> list[str]:
    return [row[-1].strip("`") for row in rows()]


def test_every_row_is_whole() -> None:
    for row in rows():
        assert len(row) == len(COLUMNS) and all(row), row


def test_every_row_has_a_test() -> None:
    assert set(names_in_table()) <= functions_in(CHECKOUT / "tests")


def test_every_test_has_a_row() -> None:
    own = functions_in(CHECKOUT / "tests" / "faults")
    assert {name for name in own if "test_table.py" not in name} <= set(names_in_table())


@pytest.mark.parametrize("name", ["README.md", "pyproject.toml"])
def test_the_table_is_linked_and_shipped(name: str) -> None:
    text = (CHECKOUT / name).read_text()
    assert ("docs/faults.md" if name == "README.md" else '"/docs"') in text

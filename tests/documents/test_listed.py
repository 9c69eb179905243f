"""What the documentation lists is all that there is: models, parts, commands, pictures."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from sae_cli.config.conf_folder import CONF
from tests.conftest import CHECKOUT

DOCS = CHECKOUT / "docs"
README = (CHECKOUT / "README.md").read_text("utf-8")
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())


def pages_of(group: str) -> set[str]:
    return {page.stem for page in (CONF / group).glob("*.yaml")}


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "experiment"])
def test_the_parts_of_a_group(group: str) -> None:
    text = (DOCS / "command_line.md").read_text("utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{group}` |")]
    listed = re.sub(r"`[^`]*=[^`]*`", "", row.split("|")[2])
    words = {word for code in re.findall(r"`([^`]+)`", listed) for word in code.split()}
    assert words == pages_of(group)


def test_the_readme_has_every_model() -> None:
    assert set(re.findall(r"\(docs/models\.md#(\w+)\)", README)) == pages_of("model")


def test_the_readme_has_every_command() -> None:
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert set(re.findall(r"^\| `(sae-[a-z]+)", README, re.M)) == set(scripts)


def test_every_data_set_is_described() -> None:
    text = (DOCS / "data.md").read_text("utf-8")
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert {name for cell in first for name in re.findall(r"`(\w+)`", cell)} - {"dataset"} == (
        pages_of("dataset")
    )


def test_every_picture_is_described() -> None:
    """Those whose names stand in the code; filters and atoms share one line of it."""
    trees = [ast.parse(file.read_text()) for file in (CHECKOUT / "sae_cli/pictures").rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {
        first.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Picture"
        for first in call.args[:1]
        if isinstance(first, ast.Constant) and isinstance(first.value, str)
    }
    text = (DOCS / "look.md").read_text("utf-8")
    assert len(names) > 15
    assert {name for name in names if f"`{name}`" not in text} == set()

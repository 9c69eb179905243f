"""The pages that are made from ``conf/`` say what it says now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sae_cli.commands.reference_pages import models_page, options_page
from sae_cli.config.conf_folder import CONF
from tests.conftest import CHECKOUT


@pytest.mark.parametrize(("name", "make"), [("models", models_page), ("options", options_page)])
def test_a_made_page_is_up_to_date(name: str, make: Callable[[], str]) -> None:
    written = (CHECKOUT / "docs" / f"{name}.md").read_text("utf-8")
    assert written == make(), "run python -m sae_cli.commands.reference_pages"


def entry(page: str, heading: str) -> str:
    """The text below a heading."""
    (text,) = [part for part in page.split("\n## ") if part.startswith(f"{heading}\n")]
    return text


@pytest.mark.parametrize(
    "path", sorted((CONF / "model").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_model_has_its_equation_its_parts_and_its_options(path: Path) -> None:
    """Read from the page as YAML, not as text."""
    text = path.read_text("utf-8")
    found = entry(models_page(), path.stem)
    content = yaml.safe_load(text)
    for part in [one for one in content.pop("defaults") if isinstance(one, dict)]:
        for group, name in part.items():
            shown = f"`{group.removeprefix('override /')}={name}`"
            assert (shown in found) == (name != "none")
    for group, section in content.items():
        for option, value in section.items() if isinstance(section, dict) else ():
            (line,) = [line for line in found.splitlines() if f"[`{group}=" in line]
            values = dict(part.split("=", 1) for part in line.split("`")[3::2])
            assert yaml.safe_load(values[option]) == value
    for line in text.splitlines():
        if line.startswith("#   "):
            assert f"    {line[1:].strip()}\n" in found

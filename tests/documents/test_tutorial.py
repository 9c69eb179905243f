"""The commands of ``docs/tutorial.md`` train, and draw the pictures that the page looks at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, SMALL, Command
from tests.documents.pages import blocks_of
from tests.documents.test_commands import take_apart

TEXT = (CHECKOUT / "docs" / "tutorial.md").read_text("utf-8")
STEPS = {part.partition("\n")[0]: part for part in TEXT.split("\n## ")[1:]}
PICTURE = re.compile(r"`([a-z_]+\.png)`")
LAST = "From here"


def commands_of(step: str) -> list[list[str]]:
    blocks = [block for language, block in blocks_of(f"\n{step}") if not language]
    return [take_apart(line) for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STEPS if name != LAST])
def test_a_step(name: str, command: Command, tmp_path: Path) -> None:
    """Each command as it stands, but for its length."""
    commands = commands_of(STEPS[name])
    assert commands
    for _, *words in commands:
        kept = [word for word in words if not word.startswith("epochs=")]
        done = command(*kept, *SMALL)
        assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "outputs").rglob("*.png")}
    asked = set(PICTURE.findall(STEPS[name]))
    assert asked and asked <= drawn


def test_every_step_has_an_equation_and_pictures() -> None:
    assert len(STEPS) > 10
    for name, step in STEPS.items():
        if name != LAST:
            assert any(language == "text" for language, _ in blocks_of(f"\n{step}")), name
            assert "\nLook at " in step and PICTURE.search(step), name

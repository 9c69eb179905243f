"""The pages of documentation, and what is read from them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import CHECKOUT

PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    CHECKOUT / "benchmarks" / "README.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# Indented lines after an empty one; those of a list follow its lines.
INDENTED = re.compile(r"(?<=\n\n)(?:    .*\n|\n(?=    ))+")


def name_of(page: Path) -> str:
    """Name a page from the checkout on."""
    return page.relative_to(CHECKOUT).as_posix()


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Find the blocks of code, ``(language, text)``; indented ones have no language."""
    fenced = [(found[1], found[2]) for found in FENCED.finditer(text)]
    rest = FENCED.sub("", text)
    return [*fenced, *(("", re.sub("(?m)^    ", "", one[0])) for one in INDENTED.finditer(rest))]


def prose_of(text: str) -> str:
    """Leave out the blocks of code and the code within lines."""
    return re.sub(r"`[^`]*`", "", INDENTED.sub("", FENCED.sub("", text)))


def headings_of(text: str) -> list[str]:
    """Find the headings, without their marks."""
    return re.findall(r"^#+ +(.+?) *$", FENCED.sub("", text), re.M)

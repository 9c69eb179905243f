"""The plug-in of ``docs/plugins.md``, and others, as files."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import CHECKOUT

TEXT = (CHECKOUT / "docs" / "plugins.md").read_text("utf-8")
FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
# Writes down that it was run.
MARK = """
from pathlib import Path
Path(__file__).with_name("ran").write_text("")
"""


def write_documented(folder: Path) -> dict[str, Path]:
    """Write the files of the page as it has them; give them by their names."""
    found = {}
    for name, content in FILE.findall(TEXT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        found[name] = path
    return found

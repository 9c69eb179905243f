"""The folder of the pages."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parents[1]
# The pages are inside an installed package, or beside it in a checkout.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"
# These pages name a run as a whole; all others are parts.
PAGES = ("model", "experiment")

"""The cache of each test, which is its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache that is not there yet."""
    folder = tmp_path / "cache" / "new"
    monkeypatch.setenv("SAE_CACHE", str(folder))
    return folder

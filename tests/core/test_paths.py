"""Home folders at the beginning of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path, open_home


def test_home_folders_are_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    assert full_path("~/x") == tmp_path / "x"
    assert full_path("~") == tmp_path
    assert full_path("x~/~") == tmp_path.parent / "x~" / "~"
    assert open_home("x") == Path("x")


def test_nobody_has_such_a_home_folder() -> None:
    with pytest.raises(ConfigError, match=r"~nobody-here/x: .* or \./~nobody-here for a folder"):
        full_path("~nobody-here/x")

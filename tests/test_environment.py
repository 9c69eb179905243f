"""What the run folder says of code and machine."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from sae_cli import environment as module
from sae_cli.environment import _code, environment


def git(folder: Path, *arguments: str) -> bytes:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, check=True
    ).stdout


def test_commit_and_uncommitted_changes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    clean = _code(tmp_path)
    assert clean == {
        "commit": git(tmp_path, "rev-parse", "HEAD").decode().strip(),
        "patch_sha256": None,
    }
    (tmp_path / "file").write_text("two\n")
    changed = _code(tmp_path)
    assert changed["commit"] == clean["commit"]
    assert changed["patch_sha256"] == hashlib.sha256(git(tmp_path, "diff", "HEAD")).hexdigest()


def test_outside_a_checkout_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"commit": None, "patch_sha256": None}
    assert _code(tmp_path) == nothing
    (tmp_path / ".git").mkdir()
    assert _code(tmp_path) == nothing
    monkeypatch.setenv("PATH", "")
    assert _code(tmp_path) == nothing


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    packages = environment()["packages"]
    assert packages["no-such-package"] is None
    assert packages["torch"]

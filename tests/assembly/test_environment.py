"""The record of code and machine in the run folder."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
from pathlib import Path

import pytest
import torch

from sae_cli.assembly import environment as module
from sae_cli.assembly.environment import (
    _code,
    _unchanging,
    changes_of_environment,
    environment,
)


def git(folder: Path, *arguments: str) -> bytes:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, check=True
    ).stdout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Make a package in a folder of its own."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("one\n")
    return tmp_path / "package"


def test_commit_and_uncommitted_changes(package: Path) -> None:
    root = package.parent
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    clean = _code(package)
    assert clean["commit"] == git(root, "rev-parse", "HEAD").decode().strip()
    assert clean["patch"] is None
    (package / "code.py").write_text("two\n")
    changed = _code(package)
    assert changed["commit"] == clean["commit"]
    assert changed["patch"] == git(root, "diff", "HEAD").decode()
    assert "+two" in changed["patch"]
    assert changed["sha256"] != clean["sha256"]


def test_outside_a_checkout_or_without_git(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(b"code.py\0one\n").hexdigest()
    nothing = {"sha256": expected, "commit": None, "patch": None}
    assert _code(package) == nothing
    (package.parent / ".git").mkdir()
    assert _code(package) == nothing
    monkeypatch.setenv("PATH", "")
    assert _code(package) == nothing


def test_what_changed_is_named() -> None:
    then = environment()
    now = then | {"packages": then["packages"] | {"torch": "9.9"}, "started": "later"}
    now["code"] = then["code"] | {"patch": "+one\n+two\n"}
    found = {one.key: str(one) for one in changes_of_environment(then, now)}
    assert set(found) == {"packages.torch", "code.patch"}
    assert found["packages.torch"].endswith("then, 9.9 now")
    assert "2 lines" in found["code.patch"]
    assert list(changes_of_environment(then, environment())) == []


def test_a_variable_or_a_switch_that_decides_bits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_CBWR", raising=False)
    then = environment()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    found = {one.key: str(one) for one in changes_of_environment(then, environment())}
    assert found == {
        "variables.MKL_CBWR": "variables.MKL_CBWR: nothing then, COMPATIBLE now",
        "switches.mkldnn.enabled": "switches.mkldnn.enabled: True then, False now",
    }


def test_no_secret_of_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secrets.token_hex()
    monkeypatch.setenv("API_TOKEN", secret)
    # Found anew: what this process has found before, it found without the secret.
    assert secret not in json.dumps(environment() | _unchanging.__wrapped__())


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    packages = _unchanging.__wrapped__()["packages"]
    assert packages["no-such-package"] is None
    assert packages["torch"]

"""The environment of a run besides its configuration: code, packages and machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sae_cli.assembly.numerics import switches, variables
from sae_cli.core.differences import Difference, diff
from sae_cli.core.plugins.sources import digest_of
from sae_cli.core.ranks.messages import launched

PACKAGES = (
    *("sae-train", "torch", "torchvision", "numpy", "pillow", "safetensors"),
    *("hydra-core", "omegaconf", "pydantic", "matplotlib"),
)
# These keys belong to one start of a run; its numbers do not depend on them. A look tells of data
# that have a fingerprint.
OWN = {"started", "command", "working_directory", "resumed", "look"}
# A patch is kept for people to read, so a whole data file in it is cut off.
PATCH_CHARACTERS = 1 << 20


def environment() -> dict[str, Any]:
    """Record command line, versions, code, hardware and threads, as plain values.

    Of the environment variables only those of the mathematical libraries are kept, because others
    may hold secrets.
    """
    launch = launched()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        # The command as it was typed, with the interpreter and its options.
        "command": sys.orig_argv,
        "working_directory": str(Path.cwd()),
        **_unchanging(),
        "threads": torch.get_num_threads(),
        "processes": 1 if launch is None else launch.size,
        "variables": variables(),
        "switches": switches(),
        # Each resumption is added here, with what was different then.
        "resumed": [],
    }


@cache
def _unchanging() -> dict[str, Any]:
    """Give what stays as it is while the process runs, found once for all jobs of a sweep."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "code": _code(Path(__file__).parents[1]),
        "hardware": {
            "platform": platform.platform(),
            "processor": _processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def changes_of_environment(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Give the differences between the environments of two runs of one configuration."""
    # Earlier versions trained in one process alone.
    records = ({"processes": 1, **one} for one in (then, now))
    before, after = ({k: v for k, v in one.items() if k not in OWN} for one in records)
    for found in diff(before, after):
        if found.key == "code.patch":
            yield Difference(found.key, *(_abridge(patch) for patch in found[1:]))
        else:
            yield found


def _abridge(patch: Any) -> str:
    if not isinstance(patch, str):
        return "none"
    return f"{len(patch.splitlines())} lines ({hashlib.sha256(patch.encode()).hexdigest()[:12]})"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _code(package: Path) -> dict[str, str | None]:
    """Record the code: the SHA-256 of the package's files and, in a checkout, the commit and a
    patch of the changes since (None if there are none)."""
    about: dict[str, str | None] = {"sha256": digest_of(package), "commit": None, "patch": None}
    root = package.parent
    if (root / ".git").exists():
        commit, patch = (
            _git(root, "rev-parse", "HEAD"),
            _git(root, "diff", "HEAD", "--", package.name, "conf"),
        )
        about["commit"] = commit.decode().strip() if commit else None
        about["patch"] = patch.decode(errors="replace")[:PATCH_CHARACTERS] if patch else None
    return about


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _processor() -> str:
    """Give the processor's model name, if the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

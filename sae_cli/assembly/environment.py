"""What a run depended on besides its configuration: code, packages and machine."""

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

from sae_cli.core.differences import Difference, differing

PACKAGES = (
    *("sae-train", "torch", "torchvision", "numpy", "pillow", "safetensors"),
    *("hydra-core", "omegaconf", "pydantic", "matplotlib"),
)
# What belongs to one start of a run, and says nothing of its numbers.
OWN = {"started", "command", "working_directory", "resumed"}
# A patch is kept for people to read; a whole new data file in it is not.
PATCH_CHARACTERS = 1 << 20


def environment() -> dict[str, Any]:
    """Command line, versions, code, hardware and threads, as plain values.

    Nothing of the environment variables is among them: secrets are kept there.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        # As typed: Hydra is given a command line of its own in sys.argv.
        "command": sys.orig_argv,
        "working_directory": str(Path.cwd()),
        **_unchanging(),
        "threads": torch.get_num_threads(),
        # When it was taken up again, and what was different then.
        "resumed": [],
    }


@cache
def _unchanging() -> dict[str, Any]:
    """What stays as it is while the process runs; the jobs of a sweep find it once."""
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
    """What two runs of the same configuration depended on differently."""
    before, after = ({k: v for k, v in one.items() if k not in OWN} for one in (then, now))
    for found in differing(before, after):
        if found.key == "code.patch":
            yield Difference(found.key, *(_abridged(patch) for patch in found[1:]))
        else:
            yield found


def _abridged(patch: Any) -> str:
    if not isinstance(patch, str):
        return "none"
    return f"{len(patch.splitlines())} lines ({hashlib.sha256(patch.encode()).hexdigest()[:12]})"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _code(package: Path) -> dict[str, str | None]:
    """What the code was.

    ``sha256`` is of the package's files; in a checkout there are also the commit, and the changes
    that were not committed as a patch (None where there are none).
    """
    about: dict[str, str | None] = {"sha256": _digest(package), "commit": None, "patch": None}
    root = package.parent
    if (root / ".git").exists():
        commit, patch = (
            _git(root, "rev-parse", "HEAD"),
            _git(root, "diff", "HEAD", "--", package.name, "conf"),
        )
        about["commit"] = commit.decode().strip() if commit else None
        about["patch"] = patch.decode(errors="replace")[:PATCH_CHARACTERS] if patch else None
    return about


def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _processor() -> str:
    """The processor's model name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

"""What a run depended on besides its configuration: code, packages and machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("sae-train", "torch", "numpy", "hydra-core", "omegaconf", "pydantic", "safetensors")


def environment() -> dict[str, Any]:
    """Command line, versions, code, hardware and threads, as plain values."""
    return {
        # As typed: Hydra is given a command line of its own in sys.argv.
        "command": sys.orig_argv,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "code": _code(Path(__file__).parents[1]),
        "hardware": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "threads": torch.get_num_threads(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _code(root: Path) -> dict[str, str | None]:
    """Commit of the checkout and SHA-256 of its uncommitted changes; None outside a checkout."""
    if not (root / ".git").exists():
        return {"commit": None, "patch_sha256": None}
    commit = _git(root, "rev-parse", "HEAD")
    patch = _git(root, "diff", "HEAD")
    return {
        "commit": commit.decode().strip() if commit else None,
        "patch_sha256": hashlib.sha256(patch).hexdigest() if patch else None,
    }


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

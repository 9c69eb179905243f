"""How much memory there is for this process: that of the machine, or what its container leaves."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# What is free of a limit is looked up below this folder; tests have one of their own.
ROOT = Path("/")


class _Names(NamedTuple):
    """How a version of control groups calls the files of a group."""

    limit: str
    usage: str
    cached: tuple[str, str]


# What is cached of files is dropped before a limit kills, so it counts as free, as the machine
# itself counts it.
VERSIONS = {
    "": _Names("memory.max", "memory.current", ("inactive_file", "active_file")),
    "memory": _Names(
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def free_memory(root: Path = ROOT) -> float:
    """Bytes that a process can still take; infinite where the system does not say.

    The smallest of what is free of the machine and of each control group that this process is in,
    as in a container or in the job of a batch system.
    """
    free = _of_machine(root, "MemAvailable:")
    for group, names in _groups(root):
        limit = _number(group / names.limit)
        usage, stat = _number(group / names.usage), group / "memory.stat"
        cached = sum(_stated(stat, name) or 0.0 for name in names.cached)
        # Without its usage, a limit is all that is known of a group.
        free = min(free, limit - usage + cached if math.isfinite(usage) else limit)
    return max(0.0, free)


def whole_memory(root: Path = ROOT) -> float:
    """Bytes of the machine, or the lowest limit of the control groups of this process.

    Infinite where the system does not say.
    """
    limits = [_number(group / names.limit) for group, names in _groups(root)]
    return min([_of_machine(root, "MemTotal:"), *limits])


def _of_machine(root: Path, name: str) -> float:
    """Give a number of bytes that the machine says of itself; where it does not, its memory."""
    kilobytes = _stated(root / "proc/meminfo", name)
    if kilobytes is not None:
        return 1024.0 * kilobytes
    if not hasattr(os, "sysconf"):
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _groups(root: Path) -> Iterator[tuple[Path, _Names]]:
    """Yield the folders of the groups of this process and of those above, whose limits hold too.

    A container may see its own group where the system's first one would be, and be told its path
    on the system: what is not there is passed over.
    """
    lines = ""
    with contextlib.suppress(OSError, ValueError):
        lines = (root / "proc/self/cgroup").read_text()
    for line in lines.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in {*controllers.split(",")} & VERSIONS.keys():
            mounted = root / "sys/fs/cgroup" / controller
            inner = PurePosixPath(path.lstrip("/"))
            # A path that leads out of what is mounted says nothing of where its folder is.
            inner = PurePosixPath() if ".." in inner.parts else inner
            for within in (inner, *inner.parents):
                yield mounted / within, VERSIONS[controller]


def _number(path: Path) -> float:
    """Read the number in a file; infinite if there is no such file, or it says ``max``."""
    with contextlib.suppress(OSError, ValueError):
        return float(int(path.read_text()))
    return math.inf


def _stated(path: Path, name: str) -> float | None:
    """Read the number behind a name in a file of such lines; None if there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == [name]:
                return float(int(words[1]))
    return None

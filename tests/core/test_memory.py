"""Memory that is free, of a machine and of control groups: files as kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.core.memory import free_memory, whole_memory

GB = 1_000_000_000
# What version 1 says of a group without a limit.
UNLIMITED = 9223372036854771712


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of 64 GB without control groups, 32 GB of which are available."""
    meminfo = "MemTotal: 62500000 kB\nMemFree: 9 kB\nMemAvailable:   31250000 kB\nBuffers: 1 kB"
    return write(tmp_path, {"proc/meminfo": meminfo})


def group(folder: str, limit: object, current: object, cached: int) -> dict[str, object]:
    """A group of version 2, a quarter of whose cached files was read more than once."""
    active = cached // 4
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.current": current,
        f"{folder}/memory.stat": f"anon 5\nactive_file {active}\ninactive_file {cached - active}",
    }


def group_v1(folder: str, limit: object, usage: object, cached: int) -> dict[str, object]:
    active = cached // 4
    totals = f"total_active_file {active}\ntotal_inactive_file {cached - active}"
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": usage,
        f"{folder}/memory.stat": f"inactive_file 11\nactive_file 7\n{totals}",
    }


def test_a_machine_without_limits(machine: Path) -> None:
    assert free_memory(machine) == 32 * GB
    assert whole_memory(machine) == 64 * GB


def test_a_limit_of_version_2(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "0::/user.slice/job"})
    inner = "sys/fs/cgroup/user.slice/job"
    write(machine, group(inner, 8 * GB, 6 * GB, GB))
    assert free_memory(machine) == 3 * GB
    assert whole_memory(machine) == 8 * GB
    # That of the group above holds as well, and there may be none of its own.
    write(machine, group("sys/fs/cgroup/user.slice", 9 * GB, 8 * GB, 0))
    assert free_memory(machine) == GB
    write(machine, {f"{inner}/memory.max": "max"})
    assert free_memory(machine) == GB
    assert whole_memory(machine) == 9 * GB
    write(machine, {"sys/fs/cgroup/user.slice/memory.max": "max"})
    assert free_memory(machine) == 32 * GB


def test_a_limit_above_what_the_machine_has(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "0::/job"} | group("sys/fs/cgroup/job", 96 * GB, GB, 0))
    assert free_memory(machine) == 32 * GB
    assert whole_memory(machine) == 64 * GB


def test_a_limit_of_version_1(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "9:name=systemd:/\n4:memory,hugetlb:/a/b\n1:cpu:/a\n0::/"})
    folder = "sys/fs/cgroup/memory"
    write(machine, group_v1(f"{folder}/a/b", UNLIMITED, 20 * GB, 0))
    assert free_memory(machine) == 32 * GB
    write(machine, group_v1(f"{folder}/a", 16 * GB, 15 * GB, 4 * GB))
    assert free_memory(machine) == 5 * GB
    assert whole_memory(machine) == 16 * GB
    write(machine, group_v1(f"{folder}/a/b", 8 * GB, 6 * GB, 0))
    assert free_memory(machine) == 2 * GB


@pytest.mark.parametrize("path", ["/docker/0123abc", "/../../docker/0123abc", "/"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_that_sees_its_own_group_first(machine: Path, path: str, version: int) -> None:
    """It is told where its group is on the system, in folders that it does not see."""
    write(machine, {"proc/self/cgroup": f"0::{path}" if version == 2 else f"4:memory:{path}"})
    if version == 2:
        write(machine, group("sys/fs/cgroup", 4 * GB, GB, 0))
    else:
        write(machine, group_v1("sys/fs/cgroup/memory", 4 * GB, GB, 0))
    assert free_memory(machine) == 3 * GB


def test_files_that_are_missing_or_say_something_else(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "0::/job\nnonsense\n\n"})
    assert free_memory(machine) == 32 * GB
    write(machine, {"sys/fs/cgroup/job/memory.max": 4 * GB})
    assert free_memory(machine) == 4 * GB
    write(machine, {"sys/fs/cgroup/job/memory.current": GB})
    assert free_memory(machine) == 3 * GB
    write(machine, {"sys/fs/cgroup/job/memory.stat": "inactive_file\nanon 5"})
    assert free_memory(machine) == 3 * GB
    write(machine, {"sys/fs/cgroup/job/memory.current": 5 * GB})
    assert free_memory(machine) == 0
    write(machine, {"sys/fs/cgroup/job/memory.max": "a lot"})
    assert free_memory(machine) == 32 * GB


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    """Of this machine, its memory is still known."""
    assert free_memory(tmp_path) == whole_memory(tmp_path) > 1 << 28

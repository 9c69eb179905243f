"""Limits that a command meets, set in its own process before it begins."""

from __future__ import annotations

import errno
import importlib.abc
import mmap
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Never

import numpy as np
import pytest
import torch

from sae_cli.run_folder import checkpoints, files
from tests.faults.causes import KEPT
from tests.faults.runs import STOPPED_AT, at_step

PATCH = pytest.MonkeyPatch()
CPU_SECONDS = 3


def files_of_a_kilobyte() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def descriptors(soft: int, hard: int) -> None:
    """Let this process open so many files, and so many if it asks."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def no_descriptor() -> None:
    """Take every descriptor after the step."""

    def take() -> None:
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, most))

    KEPT.enter_context(at_step(STOPPED_AT, take))


def _no_new_file(number: int) -> None:
    def fail(*given: object) -> Never:
        raise OSError(number, os.strerror(number), str(given[0]))

    def forbid() -> None:
        for module in (files, checkpoints):
            PATCH.setattr(module, "write_beside", fail)

    KEPT.enter_context(at_step(STOPPED_AT, forbid))


def no_new_file(number: int) -> partial[None]:
    """Have no file be made after the step, for want of what the error number says."""
    return partial(_no_new_file, number)


def no_memory_for_data() -> None:
    """Have a file of data not be mapped for want of memory, whose error names no file."""

    def fail(*given: object, **options: object) -> Never:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    PATCH.setattr(np, "memmap", fail)
    PATCH.setattr(mmap, "mmap", fail)


def no_memory_for_a_checkpoint() -> None:
    """Have the tensors of a checkpoint find no memory, which PyTorch says in a RuntimeError."""

    def fail(*given: object, **options: object) -> Never:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    PATCH.setattr(torch, "load", fail)


def no_inode() -> None:
    """Use up the inodes of ``disk`` after the step."""

    def use() -> None:
        try:
            for number in range(1000):
                open(f"disk/{number}.filler", "x").close()
        except OSError:
            return

    KEPT.enter_context(at_step(STOPPED_AT, use))


def no_block() -> None:
    """Use up the blocks of ``disk`` after the step."""

    def use() -> None:
        with open("disk/0.filler", "wb", buffering=0) as file:
            free = os.statvfs("disk").f_bavail * os.statvfs("disk").f_frsize
            file.write(bytes(free))

    KEPT.enter_context(at_step(STOPPED_AT, use))


def _no_thread(threads: int) -> None:
    def fail(thread: threading.Thread) -> Never:
        raise RuntimeError("can't start new thread")

    os.environ["OMP_NUM_THREADS"] = str(threads)
    PATCH.setattr(threading.Thread, "start", fail)


# The keys are the values of OMP_NUM_THREADS.
no_thread = {threads: partial(_no_thread, threads) for threads in (1, 2)}


def no_fork() -> None:
    """Have no process be started."""

    def fail() -> Never:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    PATCH.setattr(os, "fork", fail)


def no_watching_thread() -> None:
    """Have the thread that ends a job with its parent not be started."""
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "end-with-parent":
            raise RuntimeError("can't start new thread")
        start(thread)

    PATCH.setattr(threading.Thread, "start", fail)


def little_time() -> None:
    """Limit processor time as a shell does, and use up all but what is kept to save in."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))

    def burn() -> None:
        # The system counts in ticks, and looks at the limit at each.
        while time.process_time() < CPU_SECONDS - 0.8:
            pass

    KEPT.enter_context(at_step(STOPPED_AT, burn))


def no_time() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))


class _NoMemory(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name == "sae_cli.commands.train":
            raise MemoryError


def no_memory_for_the_command() -> None:
    """Have the import of the command find no memory."""
    del sys.modules["sae_cli.commands.train"]
    sys.meta_path.insert(0, _NoMemory())

"""What can become of a file of a run folder, and what each command makes of the folder then."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sae_cli import load_run
from sae_cli.commands import evaluate, report, reproduce, runs, train
from sae_cli.core.errors import SaeError
from tests.faults.runs import LAST, PREVIOUS, WORDS

Damage = Callable[[Path, Path], None]


def missing(file: Path, outside: Path) -> None:
    file.unlink()


def empty(file: Path, outside: Path) -> None:
    file.write_bytes(b"")


def halved(file: Path, outside: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def link(file: Path, outside: Path) -> None:
    shutil.move(file, outside)
    file.symlink_to(outside)


def hard_link(file: Path, outside: Path) -> None:
    os.link(file, outside)


def pipe(file: Path, outside: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path, outside: Path) -> None:
    file.unlink()
    file.mkdir()


def unreadable(file: Path, outside: Path) -> None:
    file.chmod(0)


DAMAGES: tuple[Damage, ...] = (
    *(missing, empty, halved, link, hard_link, pipe, folder, unreadable),
)
CONFIG, OVERRIDES, ENVIRONMENT = "config.yaml", "overrides.yaml", "environment.json"
METRICS, SUMMARY, STATUS, MODEL = (
    *("metrics.jsonl", "summary.json", "status.json", "model.safetensors"),
)
LOG, BEST = "train.log", "checkpoints/best.pt"
FILES = (CONFIG, OVERRIDES, ENVIRONMENT, METRICS, SUMMARY, STATUS, MODEL, LOG, LAST, PREVIOUS, BEST)


def _load() -> int:
    """Do with a run in Python what reads all of it."""
    try:
        run = load_run("run")
        print(len(run.summary), len(run.metrics))
    except SaeError as error:
        # As a command would print it.
        print(error)
        return error.exit_code
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "resume": lambda: train.run(["resume=run"]),
    "again": lambda: train.run([*WORDS, "hydra.run.dir=run"]),
    "reproduce": lambda: reproduce.run(["run", "--into", "again"]),
    "check": lambda: reproduce.run(["--check", "run"]),
    "report": lambda: report.run(["run"]),
    "load": _load,
    "evaluate": lambda: evaluate.run(["run", "device=cpu"]),
    "list": lambda: runs.run(["run", "--csv"]),
    "show": lambda: runs.run(["show", "run"]),
    "compare": lambda: runs.run(["compare", "run", "run"]),
}
# These files a command needs as they were.
REPRODUCED = {CONFIG, ENVIRONMENT, METRICS, SUMMARY, STATUS, MODEL}
NEEDS = {
    "resume": {CONFIG},
    "again": {CONFIG},
    "reproduce": REPRODUCED,
    "check": REPRODUCED,
    "report": {CONFIG, OVERRIDES, ENVIRONMENT, SUMMARY, STATUS},
    "load": {CONFIG, METRICS, SUMMARY, MODEL},
    "evaluate": {CONFIG, MODEL},
    "list": set(),
    "show": {CONFIG},
    "compare": {CONFIG},
}
# These it makes again, if it can write them.
MAKES = {"resume": {METRICS, SUMMARY, STATUS, MODEL}, "again": {METRICS, SUMMARY, STATUS, MODEL}}


def code_of_finished(command: str, name: str, damage: Damage) -> int:
    """Give the exit code of a command on a finished run with one damaged file."""
    if command == "report" and damage in (link, pipe):
        return 2
    if damage in (link, hard_link):
        return 0
    if command == "load" and name == METRICS and damage in (empty, halved):
        # A last line that was cut off is left out.
        return 0
    if command == "list" and name == CONFIG:
        # A folder without a configuration is not a run; one that cannot be read is listed as such.
        return 2 if damage in (missing, pipe, folder) else 0
    if name in NEEDS[command]:
        return 2
    if name in MAKES.get(command, ()):
        return 2 if damage in (pipe, folder) else 0
    # The configuration that ran is in the last checkpoint, and unknown without it.
    return 1 if command == "check" and name == LAST else 0


def code_of_stopped(name: str, damage: Damage) -> int:
    """Give the exit code of ``resume=`` on a stopped run, which reads and writes every file."""
    if damage in (link, pipe):
        return 2
    if damage is hard_link:
        return 2 if name in (METRICS, LOG) else 0
    if damage is folder:
        return 0 if name == OVERRIDES else 2
    if damage is unreadable:
        return 2 if name in (CONFIG, LOG, LAST) else 0
    return 2 if name == CONFIG else 0


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        *(("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32)),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def without_privileges() -> Iterator[None]:
    """Have root meet the permissions of files as others do."""
    system = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(0x20080522, 0), (_Sets * 2)()
    assert system.capget(ctypes.byref(header), sets) == 0
    effective = [one.effective for one in sets]
    for one in sets:
        one.effective = 0
    assert system.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        for one, before in zip(sets, effective, strict=True):
            one.effective = before
        assert system.capset(ctypes.byref(header), sets) == 0

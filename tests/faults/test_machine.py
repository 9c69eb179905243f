"""Memory, output and processes that fail."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from sae_cli.commands import exits
from tests.conftest import slow
from tests.faults.causes import gpu_error, limit_memory, raise_in_job, sigkill
from tests.faults.runs import SAVED_BEFORE, WORDS, finish_like, saved_state, status
from tests.forked import Forked
from tests.killing import results

LOWER = "out of memory; lower batch_size, architecture.n_latents or architecture.hidden_sizes"


def test_a_network_larger_than_the_memory(tmp_path: Path, forked: Forked) -> None:
    done = forked(*WORDS, "architecture.n_latents=1000000000", "hydra.run.dir=run")
    assert done.code == 4
    assert LOWER in done.error
    assert list(tmp_path.iterdir()) == []


def test_memory_ends_before_the_training(tmp_path: Path, forked: Forked) -> None:
    """A limit, as clusters set them, is too low for the weights alone."""
    words = (*WORDS, "architecture.n_latents=200000", "hydra.run.dir=run")
    done = forked(*words, before=limit_memory)
    assert done.code == 4, done.err
    assert LOWER in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mebibytes", [400, *slow([1000])])
@pytest.mark.parametrize("words", ["epochs=1", *slow(["-m seed=0,1", "resume=run"])])
def test_memory_ends_while_libraries_are_loaded(words: str, mebibytes: int, tmp_path: Path) -> None:
    """Libraries would end the process with a traceback or an abort, and a code of their own."""
    done = in_shell(words, tmp_path, before=f"ulimit -v {mebibytes << 10}; ")
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: out of memory: the limit of {mebibytes} MiB (ulimit -v) is too")
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_library(tmp_path: Path) -> None:
    assert in_shell("--help", tmp_path, before="ulimit -v 400000; ").returncode == 0


def test_memory_ends_in_the_training(tmp_path: Path, forked: Forked) -> None:
    """A step does not fit; the folder holds a run that can resume elsewhere."""
    words = (*WORDS, "architecture.n_latents=30000", "hydra.run.dir=run")
    done = forked(*words, before=limit_memory)
    assert done.code == 4, done.err
    assert LOWER in done.error


@pytest.mark.parametrize("kind", ["allocator", *slow(["driver", "library"])])
def test_memory_of_a_gpu_ends(kind: str, tmp_path: Path, whole: Path, forked: Forked) -> None:
    """The errors are those of PyTorch and of the libraries below it."""
    done = forked(*WORDS, "hydra.run.dir=run", before=gpu_error[kind])
    assert done.code == 4
    assert LOWER in done.error
    assert status(tmp_path / "run") == "failed"
    assert saved_state(tmp_path / "run" / "checkpoints" / "last.pt").step == SAVED_BEFORE
    finish_like(tmp_path / "run", whole)


def in_shell(
    words: str, cwd: Path, before: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    command = f"{before}{sys.executable} -m sae_cli {words}"
    return subprocess.run(
        command,
        shell=True,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", *slow([">&-", "2>&-"])])
def test_output_that_is_closed(closed: str, tmp_path: Path, whole: Path) -> None:
    done = in_shell(f"{' '.join(WORDS)} hydra.run.dir=run {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert results(tmp_path / "run") == results(whole)
    assert "run folder: run" in (tmp_path / "run" / "train.log").read_text()


ASCII: list[Mapping[str, str]] = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "ascii"},
]


@pytest.mark.slow
@pytest.mark.parametrize("environment", ASCII, ids="-".join)
def test_output_that_is_not_utf_8(
    environment: Mapping[str, str], tmp_path: Path, whole: Path
) -> None:
    """The folder's name has letters that cannot be printed."""
    done = in_shell(f"{' '.join(WORDS)} hydra.run.dir=\"'größe_λ'\"", tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert results(tmp_path / "größe_λ") == results(whole)


def test_a_job_of_a_sweep_that_raises(tmp_path: Path, forked: Forked) -> None:
    """The other jobs run, and the traceback is in the job's own folder."""
    words = ("-m", *WORDS, "seed=0,1,2", "hydra.sweep.dir=sweep")
    done = forked(*words, before=raise_in_job)
    assert done.code == 1
    assert done.error == "error in job 1_" + done.error.partition("error in job 1_")[2]
    assert "a fault of its own" in done.error
    assert statuses(tmp_path / "sweep") == {"0": "finished", "1": "failed", "2": "finished"}
    (failed,) = (tmp_path / "sweep").glob("1_*")
    assert "RuntimeError: a fault of its own" in (failed / "train.log").read_text()
    assert forked("resume=sweep").code == 0
    assert set(statuses(tmp_path / "sweep").values()) == {"finished"}


def test_a_sweep_that_is_killed(tmp_path: Path, forked: Forked) -> None:
    words = ("-m", *WORDS, "seed=0,1", "hydra.sweep.dir=sweep")
    assert forked(*words, before=sigkill).code == -signal.SIGKILL
    done = forked("resume=sweep")
    assert done.code == 0, done.err
    assert f"resumed at step {SAVED_BEFORE} " in done.out
    assert "2 of 2 jobs finished" in done.out


def statuses(sweep: Path) -> dict[str, str]:
    with (sweep / "results.csv").open() as file:
        return {row["job"].partition("_")[0]: row["status"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), 4),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 4),
        (RuntimeError("can't start new thread"), 4),
        (OSError(5, "Input/output error", "/disk/file"), 4),
        (OSError(122, "Disk quota exceeded", "/disk/file"), 4),
        (OSError(30, "Read-only file system", "/disk/file"), 2),
        (PermissionError(13, "Permission denied", "/disk/file"), 2),
        (OSError(24, "Too many open files", "/disk/file"), 4),
        (ImportError("libx.so: failed to map segment from shared object"), 4),
        (OSError("libx.so: cannot allocate memory in static TLS block"), 4),
        (RuntimeError("a bug"), None),
        (ImportError("cannot import name 'x'"), None),
    ],
    ids=str,
)
def test_faults_that_cannot_be_caused_here(error: Exception, code: int | None) -> None:
    found, text = exits.meaning(error)
    assert found == code
    assert (text == "") == (code is None)
    if isinstance(error, OSError) and error.filename:
        assert "/disk/file: " in text

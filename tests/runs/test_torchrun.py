"""A run that the real ``torchrun`` starts, in fresh processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.killing import results
from tests.ranks import run_ranks
from tests.runs.test_ranks import SMALL

# It takes seconds: three processes import torch.
pytestmark = pytest.mark.slow


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start ``torchrun`` with two processes; it chooses a free port."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "sae_cli", *words),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A signal to it is one to it alone.
        start_new_session=True,
    )


def until_it_trains(run: Path, process: subprocess.Popen[str]) -> int:
    """Wait for a checkpoint; give the number of the process that writes."""
    last, before = run / "checkpoints" / "last.pt", time.time()
    # A checkpoint of before is that of a run to be resumed.
    while not last.exists() or last.stat().st_mtime < before:
        assert process.poll() is None
        time.sleep(0.05)
    return int(json.loads((run / "status.json").read_text())["pid"])


def test_as_in_the_other_tests(tmp_path: Path) -> None:
    process = start(tmp_path, *SMALL, "model=sparse_kl", "hydra.run.dir=started")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.splitlines()[-1] == "run folder: started"
    assert out.count("epoch 2/2") == 1
    run_ranks(tmp_path, 2, *SMALL, "model=sparse_kl", "hydra.run.dir=other")
    assert results(tmp_path / "started") == results(tmp_path / "other")


def test_latents_are_shared_out(tmp_path: Path) -> None:
    words = (*SMALL, "model=batch_topk", "activation.k=2", "device.share=latents")
    process = start(tmp_path, *words, "hydra.run.dir=started")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.splitlines()[-1] == "run folder: started"
    run_ranks(tmp_path, 2, *words, "hydra.run.dir=other")
    assert results(tmp_path / "started") == results(tmp_path / "other")


def test_a_refusal_is_one_line_of_ours(tmp_path: Path) -> None:
    """``torchrun`` reports the exit code 2, and itself ends with 1."""
    process = start(tmp_path, *SMALL, "model=ae", "compile=on")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert [line[:6] for line in err.splitlines()].count("error:") == 1
    assert "exitcode  : 2" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torchrun_is_stopped(number: int, tmp_path: Path) -> None:
    words = (*SMALL[:1], "epochs=100000", *SMALL[2:], "quiet=true", "hydra.run.dir=run")
    process = start(tmp_path, *words)
    until_it_trains(tmp_path / "run", process)
    process.send_signal(number)
    _, err = process.communicate()
    name = signal.Signals(number).name
    (line,) = [line for line in err.splitlines() if line.startswith("stopped by")]
    assert line.startswith(f"stopped by {name}: the last checkpoint is of step")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["status"], status["saved_step"] > 0) == ("interrupted", True)


def test_one_is_killed(tmp_path: Path) -> None:
    """The rest end, whichever it was, and the run is resumed."""
    words = (*SMALL[:1], "epochs=100000", *SMALL[2:], "quiet=true", "hydra.run.dir=run")
    process = start(tmp_path, *words)
    os.kill(until_it_trains(tmp_path / "run", process), signal.SIGKILL)
    process.communicate()
    assert process.returncode == 1
    resumed = start(tmp_path, "resume=run", "epochs=100000")
    until_it_trains(tmp_path / "run", resumed)
    resumed.terminate()
    resumed.communicate()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "interrupted"

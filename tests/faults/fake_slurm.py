#!/usr/bin/env python3
"""As much of Slurm as the launcher calls, on this machine alone: sbatch, srun, squeue, scontrol and
scancel, by the name under which this file is called. Its state is in the folder FAKE_SLURM.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import dropwhile, pairwise
from pathlib import Path

STATE = Path(os.environ.get("FAKE_SLURM", "unset"))
# The names of the jobs in the queue, each a file with the state of the job and its process.
QUEUE, REQUEUED, DOWN = STATE / "queue", STATE / "requeued", STATE / "down"


def sbatch(script: str) -> None:
    if (STATE / "interrupts").exists():
        # As a terminal does at a Ctrl-C, which reaches this process and the one that submits.
        os.killpg(0, signal.SIGINT)
        time.sleep(0.2)
    if (STATE / "refuses").exists():
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    first = len(list(STATE.glob("script_*"))) + 1
    text = Path(script).read_text()
    (STATE / f"script_{first}").write_text(text)
    array = re.search(r"--array=0-(\d+)", text)
    names = [f"{first}_{n}" for n in range(int(array[1]) + 1)] if array else [f"{first}"]
    for name in names:
        (QUEUE / name).write_text("RUNNING")
        with open(os.devnull, "w") as nowhere:
            subprocess.Popen(
                [sys.executable, __file__, "batch", name, script],
                stdout=nowhere,
                stderr=nowhere,
                start_new_session=True,
            )
    print(f"Submitted batch job {first}")


def batch(name: str, script: str) -> None:
    """Run a job, and again when it was queued again."""
    # Slurm's own processes start jobs, whatever signals the one that submits holds.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    job, _, task = name.partition("_")
    about = {"SLURM_JOB_ID": job, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    about |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task} if task else {}
    again = True
    while again:
        subprocess.run(["bash", script], env={**os.environ, **about}, check=False)
        again = (REQUEUED / name).exists()
        (REQUEUED / name).unlink(missing_ok=True)
    (QUEUE / name).unlink()


def srun(*words: str) -> None:
    options = dict(pairwise(words))
    job, task = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", "")
    for name, stream in (("--output", 1), ("--error", 2)):
        file = options[name].replace("%a", task).replace("%t", "0")
        file = file.replace("%A", job).replace("%j", job)
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    command = [*dropwhile(lambda word: "python" not in word, words)]
    os.execv(command[0], command)


def squeue(*words: str) -> None:
    if DOWN.exists():
        sys.exit("squeue: error: Unable to contact slurm controller")
    asked = [word.partition("=")[2] for word in words if word.startswith("--jobs=")]
    if asked:
        print((QUEUE / asked[0]).read_text())
        return
    states = os.environ.get("SQUEUE_STATES")
    jobs = [path for path in QUEUE.iterdir() if states in (None, path.read_text())]
    print("\n".join(path.name for path in jobs))


def scontrol(does: str, name: str) -> None:
    assert does == "requeue"
    (REQUEUED / name).touch()


def scancel(*names: str) -> None:
    for file in (path for name in names for path in QUEUE.glob(f"{name}*")):
        file.write_text("CANCELLED")
        signal_step(file.name, signal.SIGTERM)


def signal_step(name: str, number: int | str) -> None:
    """Signal all processes of a job but its script, as Slurm does."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            found = dict(one.partition("=")[::2] for one in environ.read_text().split("\0"))
            words = (environ.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
        its = "_".join(found.get(f"SLURM_ARRAY_{one}_ID", "") for one in ("JOB", "TASK"))
        if its == name and found["FAKE_SLURM"] == str(STATE) and "submitit.core._submit" in words:
            os.kill(int(environ.parent.name), int(number))


if __name__ == "__main__":
    called, *given = sys.argv
    does = Path(called).name
    if does == Path(__file__).name:
        does, *given = given
    globals()[does](*given)

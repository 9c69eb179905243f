"""Table ``gpu_sweep``: many jobs of a sweep in one pass on a GPU, against one run alone."""

from __future__ import annotations

import tempfile
from functools import partial

from contenders import QUIET, SAE_TRAIN
from gpu_table import NO_GPU, has_gpu
from job import PAGES
from plan import Plan
from processes import run
from rounds import in_turn, keep, markdown, ratios, spread

JOBS = (1, 8, 32, 128)
NOTE = (
    "sparse_kl at batch 32, penalty weights; seconds an epoch of all jobs, validation, checkpoints "
    "and folders included: the seconds of the whole command for all epochs, less those of the same "
    "command for one, by the epochs between. One job is a run, several are a sweep with "
    "sweep.together=on."
)


def gpu_sweep(plan: Plan) -> str:
    """Make the table."""
    python = plan.pythons[SAE_TRAIN]
    if not has_gpu(python):
        return NO_GPU
    epochs = plan.epochs or 4
    cases = {str(n): partial(epoch_seconds, python, n, epochs) for n in JOBS}
    results = in_turn("gpu_sweep", cases, plan.rounds)
    rows = []
    for name, own in results.items():
        keep("gpu_sweep", name, "epoch_seconds", own)
        each = [seconds / int(name) for seconds in own]
        rows.append([name, spread(own), ratios(own, results["1"]), spread(each)])
    header = ["jobs", "s an epoch of all", "all / one", "s an epoch of each"]
    return markdown("A sweep on a GPU", NOTE, header, rows)


def epoch_seconds(python: str, jobs: int, epochs: int) -> float:
    """Measure the seconds that one more epoch of all jobs takes."""
    return (_seconds(python, jobs, epochs) - _seconds(python, jobs, 1)) / (epochs - 1)


def _seconds(python: str, jobs: int, epochs: int) -> float:
    words = [*PAGES["sparse_kl"].overrides, f"epochs={epochs}", "device=cuda", *QUIET]
    with tempfile.TemporaryDirectory() as folder:
        if jobs == 1:
            words += [f"hydra.run.dir={folder}/run"]
        else:
            weights = ",".join(str(0.01 * (i + 1)) for i in range(jobs))
            words += ["-m", f"penalty.weight={weights}", "sweep.together=on"]
            words += [f"hydra.sweep.dir={folder}"]
        return run([python, "-m", "sae_cli", *words], gpu=True).seconds

"""Tables of sweeps: ``sweep``, eight penalty weights on Fashion-MNIST, one epoch each, and
``small_sweep``, 32 on digits, 50 epochs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from contenders import HERE, QUIET, SAE_TRAIN
from job import PAGES
from plan import Plan
from processes import run
from rounds import in_turn, keep, markdown, ratios, spread

WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3)
JOINED = ",".join(map(str, WEIGHTS))
NOTE = (
    f"sparse_kl at batch 32, {len(WEIGHTS)} penalty weights, one epoch each; seconds from the "
    "start of the command to its exit. Against a minimal Hydra application with plain autograd and "
    "Hydra's own launcher, torch.func.vmap over stacked weights, and a limit: the matrix products "
    "alone, of all jobs at once on one core. The loss is the mean over the jobs."
)
SMALL_NOTE = (
    "sparse_kl on digits, 32 penalty weights, 50 epochs each; seconds from the start of the "
    "command to its exit. The loss is the mean over the jobs."
)
SMALL = ("model=sparse_kl", "penalty.weight=range(1,33)", "epochs=50")
# Jobs side by side in groups, one by one in one process, and each in a process of its own.
WAYS = ("sweep.together=on", "sweep.together=off", "hydra/launcher=joblib")
# Seconds, and the mean loss where there is one.
Measured = tuple[float, float | None]
Case = Callable[[], Measured]


def sweep(plan: Plan) -> str:
    """Make the table: total seconds of each way, and of the other side."""
    python = plan.pythons[SAE_TRAIN]
    words = [*PAGES["sparse_kl"].overrides, f"penalty.weight={JOINED}", "epochs=1"]
    cases = _ours(python, words, plan.sweep_flags)
    cases |= {
        "minimal Hydra application": partial(_minimal, python),
        "torch.func.vmap": partial(_vmap, python),
        "products alone, on one core": partial(_products, python),
    }
    return _table("sweep", "A sweep", NOTE, cases, plan.rounds)


def small_sweep(plan: Plan) -> str:
    """Make the table of a sweep of networks so small that their steps are mostly calls."""
    cases = _ours(plan.pythons[SAE_TRAIN], SMALL, plan.sweep_flags)
    return _table("small_sweep", "A sweep of small networks", SMALL_NOTE, cases, plan.rounds)


def _ours(python: str, words: Sequence[str], flags: Sequence[str]) -> dict[str, Case]:
    return {
        " ".join([SAE_TRAIN, "-m", way, *flags]): partial(_sae_train, python, [*words, way, *flags])
        for way in WAYS
    }


def _table(table: str, title: str, note: str, cases: dict[str, Case], rounds: int) -> str:
    results = in_turn(table, cases, rounds)
    ours = next(iter(cases))
    rows = []
    seconds = {name: [one[0] for one in found] for name, found in results.items()}
    for name, own in seconds.items():
        losses = [one[1] for one in results[name] if one[1] is not None]
        keep(table, name, "seconds", own)
        keep(table, name, "mean_val_loss", [one[1] for one in results[name]])
        loss = f"{mean(losses):.4f}" if losses else "-"
        rows.append([name, spread(own, 2), ratios(seconds[ours], own), loss])
    header = ["command", "seconds", "sae-train / it", "mean val loss"]
    return markdown(title, note, header, rows)


def _sae_train(python: str, words: list[str]) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        outcome = run([python, "-m", "sae_cli", "-m", *words, *QUIET, f"hydra.sweep.dir={folder}"])
        files = sorted(Path(folder).glob("*/metrics.jsonl"))
        losses = [json.loads(file.read_text().splitlines()[-1])["val/loss"] for file in files]
    return outcome.seconds, mean(losses)


def _vmap(python: str) -> Measured:
    outcome = run([python, str(HERE / "vmap_sweep.py"), JOINED])
    found = [json.loads(line) for line in outcome.lines if line.startswith('{"epoch"')]
    return outcome.seconds, mean(line["val_loss"] for line in found)


def _products(python: str) -> Measured:
    """Their values mean nothing, so there is no loss."""
    models = ["--models", str(len(WEIGHTS))]
    words = [str(HERE / "products.py"), "sparse_kl", "32", "1", "1", *models]
    return run([python, *words]).seconds, None


def _minimal(python: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        words = [f"weight={JOINED}", f"hydra.sweep.dir={folder}"]
        outcome = run([python, str(HERE / "hydra_sweep.py"), "-m", *words])
    found = [json.loads(line) for line in outcome.lines if line.startswith('{"epoch"')]
    return outcome.seconds, mean(line["val_loss"] for line in found)

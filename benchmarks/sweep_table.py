"""Table ``sweep``: eight penalty weights, one epoch each."""

from __future__ import annotations

import json
import tempfile
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
    "Hydra's own launcher. The loss is the mean over the jobs."
)
Measured = tuple[float, float]


def sweep(plan: Plan) -> str:
    """Make the table: total seconds of both sides."""
    python = plan.pythons[SAE_TRAIN]
    ours = " ".join([SAE_TRAIN, "-m", *plan.sweep_flags])
    cases = {
        ours: partial(_sae_train, python, list(plan.sweep_flags)),
        "minimal Hydra application": partial(_minimal, python),
    }
    results = in_turn("sweep", cases, plan.rounds)
    rows = []
    seconds = {name: [one[0] for one in found] for name, found in results.items()}
    for name, own in seconds.items():
        loss = mean(one[1] for one in results[name])
        keep("sweep", name, "seconds", own)
        keep("sweep", name, "mean_val_loss", [one[1] for one in results[name]])
        rows.append([name, spread(own, 2), ratios(seconds[ours], own), f"{loss:.4f}"])
    header = ["command", "seconds", "sae-train / it", "mean val loss"]
    return markdown("A sweep", NOTE, header, rows)


def _sae_train(python: str, flags: list[str]) -> Measured:
    words = [*PAGES["sparse_kl"].overrides, f"penalty.weight={JOINED}", "epochs=1"]
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            [python, "-m", "sae_cli", "-m", *words, *QUIET, f"hydra.sweep.dir={folder}", *flags]
        )
        files = sorted(Path(folder).glob("*/metrics.jsonl"))
        losses = [json.loads(file.read_text().splitlines()[-1])["val/loss"] for file in files]
    return outcome.seconds, mean(losses)


def _minimal(python: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        words = [f"weight={JOINED}", f"hydra.sweep.dir={folder}"]
        outcome = run([python, str(HERE / "hydra_sweep.py"), "-m", *words])
    found = [json.loads(line) for line in outcome.lines if line.startswith('{"epoch"')]
    return outcome.seconds, mean(line["val_loss"] for line in found)

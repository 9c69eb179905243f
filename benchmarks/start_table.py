"""Table ``start``: how long a user waits before anything trains."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial

from contenders import HERE, QUIET, SAE_TRAIN
from job import PAGES
from plan import Plan
from processes import run
from rounds import in_turn, keep, markdown, ratios, spread

NOTE = (
    "Seconds. The first step: until the line of epoch 0, before training, has come; beside it a "
    "fresh process that imports torch and decodes the same files. All others: until the exit."
)
LIMIT = "import torch, decode Fashion-MNIST"


def start(plan: Plan) -> str:
    """Make the table: help, a typo, the first step, and a whole short run with pictures."""
    python = plan.pythons[SAE_TRAIN]
    cases: dict[str, Callable[[], float]] = {
        "sae-train --help": partial(_exit, python, "--help"),
        "a typo: sae-train model=sparse_lk": partial(_exit, python, "model=sparse_lk"),
        "Fashion-MNIST, to the first step": partial(_first_step, python),
        LIMIT: lambda: run([python, str(HERE / "import_and_decode.py")]).seconds,
        "three epochs on digits, with pictures": partial(_digits, python),
    }
    results = in_turn("start", cases, plan.rounds)
    rows = []
    for name, own in results.items():
        keep("start", name, "seconds", own)
        rows.append([name, spread(own), ratios(own, results[LIMIT])])
    return markdown("Start", NOTE, ["what", "seconds", f"it / {LIMIT}"], rows)


def _exit(python: str, word: str) -> float:
    return run([python, "-m", "sae_cli", word], may_fail=True).seconds


def _first_step(python: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = [*PAGES["sparse_kl"].overrides, *QUIET, f"hydra.run.dir={folder}/run"]
        return run([python, "-m", "sae_cli", *words], stop_at_epoch=0).arrivals[0]


def _digits(python: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = ["epochs=3", "progress=false", f"hydra.run.dir={folder}/run"]
        return run([python, "-m", "sae_cli", *words]).seconds

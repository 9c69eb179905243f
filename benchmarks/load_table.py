"""Table ``load``: the cost of another busy process."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from contenders import SAE_TRAIN, train
from job import PAGES
from plan import Plan
from rounds import in_turn, keep, markdown, ratios, spread

NOTE = (
    "sae-train, sparse_kl at batch 32, seconds an epoch: alone, and while one other process keeps "
    "one core busy. In turn; the ratio within each round."
)


def load(plan: Plan) -> str:
    """Make the table; threads that wait for each other suffer most from another process."""
    cases = {"alone": partial(_seconds, plan), "beside a busy process": partial(_busy, plan)}
    results = in_turn("load", cases, plan.rounds)
    rows = []
    for name, own in results.items():
        keep("load", name, "epoch_seconds", own)
        rows.append([name, spread(own), ratios(own, results["alone"])])
    return markdown("Under load", NOTE, ["case", "s an epoch", "time / alone"], rows)


def _seconds(plan: Plan) -> float:
    page, epochs = PAGES["sparse_kl"], plan.epochs or 4
    return train(SAE_TRAIN, plan.pythons[SAE_TRAIN], page, 32, epochs).outcome.epoch_seconds


def _busy(plan: Plan) -> float:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            return _seconds(plan)
        finally:
            other.kill()

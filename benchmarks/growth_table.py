"""Table ``growth``: the time that sae-train takes for twice the data, width or depth."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from contenders import HERE, SAE_TRAIN, Result, sae_train
from job import N_FEATURES, PAGES, multiply_adds
from plan import Plan
from processes import run
from rounds import in_turn, keep, markdown, ratios, spread

ROWS = 55_000
# dataset=array keeps a tenth of the rows for each of val and test.
TRAIN_SHARE, VAL_SHARE = 0.8, 0.1
NOTE = (
    "sae-train alone, random bytes as dataset=array, the network of sparse_kl at batch 32. "
    "Seconds and multiply-adds an epoch, validation included, the latter two relative to the base."
)
# A case has its rows, then the widths between input and output.
BASE = (ROWS, (100, 300, 100))
CASES = {
    "base: 784-100-300-100-784": BASE,
    "twice the data": (2 * ROWS, BASE[1]),
    "twice the width: 784-200-600-200-784": (ROWS, (200, 600, 200)),
    "twice the depth: 8 layers for 4": (ROWS, (100, 100, 100, 300, 100, 100, 100)),
}


def growth(plan: Plan) -> str:
    """Make the table; growth below linear means that more arithmetic shares the price of calls."""
    python = plan.pythons[SAE_TRAIN]
    with tempfile.TemporaryDirectory() as folder:
        files = {rows: Path(folder) / f"{rows}.npy" for rows, _ in CASES.values()}
        for rows, file in files.items():
            run([python, str(HERE / "random_array.py"), str(file), str(rows), str(N_FEATURES)])
        cases = {
            name: partial(_train, python, files[rows], widths, plan.epochs or 4)
            for name, (rows, widths) in CASES.items()
        }
        results = in_turn("growth", cases, plan.rounds)
    seconds = {
        name: [one.outcome.epoch_seconds for one in found] for name, found in results.items()
    }
    base = next(iter(seconds.values()))
    table = []
    for name, own in seconds.items():
        keep("growth", name, "epoch_seconds", own)
        work = _multiply_adds(*CASES[name]) / _multiply_adds(*BASE)
        table.append([name, spread(own), ratios(own, base), f"{work:.2f}"])
    header = ["case", "s an epoch", "time / base", "multiply-adds / base"]
    return markdown("Growth", NOTE, header, table)


def _train(python: str, file: Path, widths: Sequence[int], epochs: int) -> Result:
    hidden = ",".join(map(str, widths[: len(widths) // 2]))
    overrides = [
        *PAGES["sparse_kl"].overrides,
        "dataset=array",
        f"dataset.path={file}",
        "dataset.divisor=255",
        f"architecture.hidden_sizes=[{hidden}]",
        f"architecture.n_latents={max(widths)}",
        f"epochs={epochs}",
    ]
    return sae_train(python, overrides)


def _multiply_adds(rows: int, widths: tuple[int, ...]) -> int:
    sizes = (N_FEATURES, *widths, N_FEATURES)
    return multiply_adds(sizes, round(TRAIN_SHARE * rows), round(VAL_SHARE * rows))

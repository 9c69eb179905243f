"""Error at equal L0 of sparse auto-encoders for activations, beside the specialists' own trainers.

    python -m benchmarks.equal_l0 --python peers=/path/to/bin/python
    python -m benchmarks.equal_l0 --python peers=/path/to/bin/python --data sentences.npy
    python -m benchmarks.equal_l0 --python peers=/path/to/bin/python --settings saelens:rate=0.003

The peers (sparsify, SAELens, dictionary_learning) are taken from the interpreter that is named, or
else from this one: ``pip install eai-sparsify sae-lens dictionary-learning``. Those that it lacks
are left out, and a line says which. Everyone gets the same rows, latents, batches and epochs; the
data without a file of one's own are sums of 8 of 512 random atoms in 128 dimensions. With
``--settings`` one of them gets another learning rate, or another coefficient of the term that
brings its jumprelu to an L0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.dictionaries import interpreter_of_peers, interpreters
from benchmarks.processes import FailedError, run
from benchmarks.rounds import markdown

VARIANTS = ("topk", "batch_topk", "jumprelu")
# sparsify knows TopK alone.
LACKING = {("sparsify", "batch_topk"), ("sparsify", "jumprelu")}
# In a process of its own, because this one imports only the standard library.
KNOWN = """
import sys, numpy as np
r = np.random.default_rng(0)
atoms = r.normal(size=(512, 128))
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
rows = np.stack([r.permutation(512)[:8] for _ in range(40000)])
x = np.einsum('nk,nkd->nd', r.uniform(0.5, 1.5, rows.shape), atoms[rows])
np.save(sys.argv[1], x.astype(np.float32))
"""


def measure(python: str, words: list[str]) -> list[dict[str, Any]]:
    """Train; the lines of figures, one for each seed, are the only ones that are JSON."""
    outcome = run([python, "-m", "benchmarks.equal_l0_training", *words])
    return [json.loads(line) for line in outcome.lines if line[:1] == "{"]


def table(
    variant: str,
    pythons: dict[str, str],
    file: Path,
    size: list[str],
    seeds: int,
    settings: list[str],
) -> str:
    """Train every contender of a variant with every seed.

    Args:
        settings: of contenders, such as ``saelens:rate=0.003``.
    """
    rows = []
    for name, python in pythons.items():
        if (name, variant) in LACKING:
            continue
        print(f"{variant}: {name}", file=sys.stderr, flush=True)
        own = [one.removeprefix(f"{name}:") for one in settings if one.startswith(f"{name}:")]
        found = measure(python, [name, variant, str(file), *size, str(seeds), *own])
        errors = [one["fvu"] for one in found]
        rows.append(
            [
                " ".join([name, *own]),
                f"{mean(errors):.4f}",
                f"{min(errors):.4f}-{max(errors):.4f}",
                f"{mean(one['l0'] for one in found):.2f}",
                f"{mean(one['dead'] for one in found):.0f}",
            ]
        )
    note = f"{file.name}: latents, batch, k, epochs: {', '.join(size)}; {seeds} seeds."
    header = ["", "fvu", "lowest-highest", "L0", "never active"]
    return markdown(variant, note, header, rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="peers=INTERPRETER")
    parser.add_argument("--data", type=Path, help="a .npy array of rows, in place of known atoms")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument(
        "--size",
        nargs=4,
        default=("512", "256", "16", "16"),
        metavar=("LATENTS", "BATCH", "K", "EPOCHS"),
    )
    parser.add_argument(
        "--settings", nargs="+", default=[], metavar="CONTENDER:rate=X|CONTENDER:coefficient=X"
    )
    given = parser.parse_args()
    peers = interpreter_of_peers(given.python, parser)
    with tempfile.TemporaryDirectory() as folder:
        file = (given.data or Path(folder) / "known.npy").absolute()
        try:
            pythons = interpreters(("sae-train",), peers)
            if given.data is None:
                run([sys.executable, "-c", KNOWN, str(file)])
            for variant in given.variants:
                size = list(given.size)
                made = table(variant, pythons, file, size, given.seeds, given.settings)
                print(made, flush=True)
        except FailedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()

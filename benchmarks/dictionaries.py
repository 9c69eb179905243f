"""Seconds of a training step of sparse auto-encoders for activations, beside the specialists' own.

    python -m benchmarks.dictionaries
    python -m benchmarks.dictionaries --python peers=/path/to/bin/python --rounds 5

Each contender trains in a process of its own, in turn; ratios are taken within a round. The peers
(sparsify, SAELens, dictionary_learning) need an environment with ``eai-sparsify``, ``sae-lens`` and
``dictionary-learning``; without it they are left out.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import median

from benchmarks.processes import FailedError, Outcome, run
from benchmarks.rounds import in_turn, markdown, ratios, spread

VARIANTS = ("topk", "batch_topk", "jumprelu", "l1")
PEERS = ("sparsify", "saelens", "dictionary_learning")
# sparsify knows TopK alone.
LACKING = {("sparsify", variant) for variant in VARIANTS[1:]}


def measure(python: str, contender: str, variant: str, size: list[str]) -> Outcome:
    return run([python, "-m", "benchmarks.dictionary_steps", contender, variant, *size])


def seconds(outcome: Outcome) -> float:
    """The median of the steps; other lines are a peer's own talk."""
    return median(float(line) for line in outcome.lines if line[:1].isdigit())


def table(variant: str, pythons: dict[str, str], size: list[str], rounds: int) -> str:
    """Measure every contender of a variant."""
    cases = {
        name: partial(measure, python, name, variant, size)
        for name, python in pythons.items()
        if (name, variant) not in LACKING
    }
    outcomes = in_turn(variant, cases, rounds)
    steps = {name: [seconds(one) for one in found] for name, found in outcomes.items()}
    rows = [
        [
            name,
            spread(steps[name]),
            ratios(steps["sae-train"], steps[name]),
            f"{median(one.peak_mib for one in found):.0f}",
        ]
        for name, found in outcomes.items()
    ]
    header = ["", "seconds a step", "sae-train / this", "peak MiB"]
    return markdown(variant, f"Rows, features, latents, batch, k, steps: {size}.", header, rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="peers=INTERPRETER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument(
        "--size",
        nargs=5,
        default=("200000", "512", "4096", "4096", "32"),
        metavar=("ROWS", "FEATURES", "LATENTS", "BATCH", "K"),
    )
    given = parser.parse_args()
    own = ("sae-train", "torch", "products")
    pythons = dict.fromkeys(own, sys.executable)
    if given.python:
        pythons |= dict.fromkeys(PEERS, given.python.removeprefix("peers="))
    for variant in given.variants:
        try:
            print(table(variant, pythons, [*given.size, str(given.steps)], given.rounds))
        except FailedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()

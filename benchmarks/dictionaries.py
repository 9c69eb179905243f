"""Seconds of a training step of sparse auto-encoders for activations, beside the specialists' own.

    python -m benchmarks.dictionaries
    python -m benchmarks.dictionaries --python peers=/path/to/bin/python --rounds 5
    python -m benchmarks.dictionaries --device cuda --precision tf32 --variants topk

Each contender trains in a process of its own, in turn; ratios are taken within a round. The peers
(sparsify, SAELens, dictionary_learning) are taken from the interpreter that is named, or else from
this one: ``pip install eai-sparsify sae-lens dictionary-learning``. Those that it lacks are left
out, and a line says which.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from statistics import median

from benchmarks.processes import FailedError, Outcome, run
from benchmarks.rounds import in_turn, markdown, ratios, spread

VARIANTS = ("topk", "batch_topk", "jumprelu", "l1")
# By the modules that each is imported from.
PEERS = {
    "sparsify": ("sparsify", "schedulefree"),
    "saelens": ("sae_lens",),
    "dictionary_learning": ("dictionary_learning",),
}
# sparsify knows TopK alone.
LACKING = {("sparsify", variant) for variant in VARIANTS[1:]}
# Rows, features, latents, batch, k. Those of a GPU are of a small, a middling and a large model.
SIZES = {
    "cpu": (("200000", "512", "4096", "4096", "32"),),
    "cuda": (
        ("200000", "512", "4096", "4096", "32"),
        ("200000", "768", "16384", "4096", "32"),
        ("200000", "2304", "65536", "4096", "64"),
    ),
}
FIND = "import sys; from importlib.util import find_spec; print(all(map(find_spec, sys.argv[1:])))"


def measure(python: str, contender: str, words: list[str]) -> Outcome:
    command = [python, "-m", "benchmarks.dictionary_steps", contender, *words]
    return run(command, gpu="cuda" in words)


def seconds(outcome: Outcome) -> float:
    """The median of the steps; other lines are a peer's own talk."""
    return median(float(line) for line in outcome.lines if line[:1].isdigit())


def peak_mib(outcome: Outcome) -> float:
    """The most memory of the GPU, or else of the process."""
    of_gpu = [float(line.split()[1]) for line in outcome.lines if line.startswith("peak ")]
    return of_gpu[0] if of_gpu else outcome.peak_mib


def interpreters(own: Sequence[str], peers: str) -> dict[str, str]:
    """The interpreter of each contender; peers that theirs lacks are left out, and named.

    Args:
        own: the contenders of this interpreter.
        peers: the interpreter of the peers.
    """
    found = dict.fromkeys(own, sys.executable)
    for name, modules in PEERS.items():
        if run([peers, "-c", FIND, *modules]).lines[-1:] == ["True"]:
            found[name] = peers
        else:
            print(f"{name} is left out: {peers} does not have it", file=sys.stderr)
    return found


def interpreter_of_peers(given: str | None, parser: argparse.ArgumentParser) -> str:
    """What ``--python`` names, or else this interpreter."""
    peers = (given or sys.executable).removeprefix("peers=")
    if shutil.which(peers) is None:
        parser.error(
            f"--python: {peers} is not an interpreter; give peers=INTERPRETER or leave it out"
        )
    return peers


def table(
    variant: str, pythons: dict[str, str], where: list[str], size: list[str], rounds: int
) -> str:
    """Measure every contender of a variant.

    Args:
        where: the device, and the precision there.
    """
    cases = {
        name: partial(measure, python, name, [variant, *where, *size])
        for name, python in pythons.items()
        if (name, variant) not in LACKING
    }
    outcomes = in_turn(variant, cases, rounds)
    steps = {name: [seconds(one) for one in found] for name, found in outcomes.items()}
    digits = 5 if "cuda" in where else 3
    rows = [
        [
            name,
            spread(steps[name], digits),
            ratios(steps["sae-train"], steps[name]),
            f"{median(map(peak_mib, found)):.0f}",
        ]
        for name, found in outcomes.items()
    ]
    header = ["", "seconds a step", "sae-train / this", "peak MiB"]
    note = f"{', '.join(where)}; rows, features, latents, batch, k, steps: {', '.join(size)}."
    return markdown(variant, note, header, rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", help="peers=INTERPRETER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--device", default="cpu", choices=tuple(SIZES))
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "tf32", "bfloat16"),
        help="of sae-train, PyTorch's autograd and the product; libraries compute in float32",
    )
    parser.add_argument(
        "--size",
        nargs=5,
        action="append",
        metavar=("ROWS", "FEATURES", "LATENTS", "BATCH", "K"),
        help="may be given several times",
    )
    given = parser.parse_args()
    peers = interpreter_of_peers(given.python, parser)
    if (given.device, given.precision) == ("cpu", "tf32"):
        parser.error("--precision tf32 is a GPU's; give --device cuda, or float32 or bfloat16")
    try:
        pythons = interpreters(("sae-train", "torch", "products"), peers)
        for variant in given.variants:
            for size in given.size or SIZES[given.device]:
                words = [*size, str(given.steps)]
                where = [given.device, given.precision]
                print(table(variant, pythons, where, words, given.rounds), flush=True)
    except FailedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

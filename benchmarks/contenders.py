"""The contenders that train the job, and their commands."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from job import Page
from processes import Outcome, run

HERE = Path(__file__).resolve().parent
SAE_TRAIN = "sae-train"
# Each peer is a script and its arguments after page, batch size and epochs.
PEERS = {
    "torch": ("plain_torch.py",),
    "lightning": ("on_lightning.py",),
    "keras-tensorflow": ("on_keras.py", "tensorflow"),
    "keras-jax": ("on_keras.py", "jax"),
    "products": ("products.py", "1"),
    "products-2-threads": ("products.py", "2"),
}
NAMES = (SAE_TRAIN, *PEERS)
# These contenders run in an environment of their own.
ENVIRONMENTS = {"lightning": "lightning", "keras-tensorflow": "keras", "keras-jax": "keras"}
# The peers draw no pictures and show no bar.
QUIET = ("progress=false", "pictures=false")


@dataclass(frozen=True)
class Result:
    """A process that trained, and the quality of its last epoch; None if it gives none."""

    outcome: Outcome
    val_loss: float | None
    rounded_accuracy: float | None


def interpreters(given: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """Find the interpreter of each contender that can run; print a line for each wanted one that
    cannot.

    Args:
        given: interpreters by contender, or by environment.
    """
    found: dict[str, str] = {}
    for name in NAMES:
        environment = ENVIRONMENTS.get(name, "")
        own = HERE / ".env" / environment / "bin" / "python"
        if path := given.get(name) or given.get(environment):
            found[name] = str(Path(path).absolute())
        elif not environment:
            found[name] = sys.executable
        elif own.exists():
            found[name] = str(own)
        elif name in wanted:
            print(f"{name} is left out: no {own}; run benchmarks/environments.sh", file=sys.stderr)
    return found


def sae_train(python: str, overrides: Sequence[str], *, gpu: bool = False) -> Result:
    """Run the command line itself, in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        run_folder = Path(folder) / "run"
        outcome = run(
            [python, "-m", "sae_cli", *overrides, *QUIET, f"hydra.run.dir={run_folder}"],
            gpu=gpu,
        )
        last = json.loads((run_folder / "metrics.jsonl").read_text().splitlines()[-1])
    return Result(outcome, last["val/loss"], last["val/rounded_accuracy"])


def train(name: str, python: str, page: Page, batch_size: int, epochs: int) -> Result:
    """Train one job with one contender, in one process."""
    if name == SAE_TRAIN:
        sizes = (f"batch_size={batch_size}", f"epochs={epochs}")
        return sae_train(python, [*page.overrides, *sizes])
    script, *more = PEERS[name]
    command = [python, str(HERE / script), page.name, str(batch_size), str(epochs), *more]
    outcome = run(command)
    last = json.loads(outcome.lines[-1])
    return Result(outcome, last["val_loss"], last["rounded_accuracy"])

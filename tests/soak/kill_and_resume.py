"""Kills many runs many times, and compares each with one that was never killed.

    python -m tests.soak.kill_and_resume --kills 200

Runs of every kind are killed in turn; their options and the instants of the kills are drawn anew
with each ``--seed``. Some kills are SIGKILL, some are signals that a run answers with a checkpoint
of its own accord.
Exit code 1 when a run comes out otherwise by a single bit.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path
from random import Random

from sae_cli.config.schema import RunConfig
from tests.configured import configured
from tests.contracts.kinds import KINDS
from tests.killing import finish, results, start

# The digits that these see may be corrupted in any way.
CORRUPTIBLE = (
    *("ae", "linear", "tied", "overcomplete", "denoising"),
    *("sparse_l1", "sparse_l2", "sparse_kl", "sparse_target", "stacked"),
)
OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "rmsprop")
LR_SCHEDULES = ("constant", "cosine", "linear_decay")
SIGNALS = (signal.SIGKILL,) * 4 + (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def drawn(kind: str, random: Random) -> tuple[str, RunConfig]:
    """A configuration of this kind, and what it is called."""
    words = [
        *KINDS[kind],
        f"optimizer={random.choice(OPTIMIZERS)}",
        "optimizer.learning_rate=0.0005",
        f"lr_schedule={random.choice(LR_SCHEDULES)}",
        f"seed={random.randrange(1000)}",
        f"batch_size={random.choice([7, 32, 97])}",
        f"epochs={random.choice([5, 10, 20])}",
        f"checkpoint_steps={random.choice([1, 3, 10])}",
        *("dataset.val=20", "dataset.test=1680", "pictures=false", "device=cpu"),
    ]
    if kind in CORRUPTIBLE:
        words.append(f"corruption={random.choice(['none', 'gaussian', 'masking', 'dropout'])}")
    return " ".join(words), configured(*words)


def soak(kills: int, random: Random, folder: Path) -> tuple[int, int, int]:
    """Kill runs of every kind in turn.

    Returns:
        the kills that were done, the runs that were killed, and how many came out otherwise.
    """
    done, runs, wrong = 0, 0, 0
    for kind in itertools.cycle(KINDS):
        if done >= kills:
            break
        name, config = drawn(kind, random)
        whole, run = folder / f"{runs}_whole", folder / f"{runs}_killed"
        seconds = finish(config, whole)
        before = done
        while done < kills and done - before < 10:
            process = start(config, run)
            process.join(random.uniform(0.0, seconds / 2))
            number = random.choice(SIGNALS)
            if process.exitcode is None and process.pid is not None:
                os.kill(process.pid, number)
            process.join()
            if process.exitcode == 0:
                break
            done += 1
        finish(config, run)
        runs += 1
        if results(run) != results(whole):
            wrong += 1
            print(f"different: {name}")
        print(f"{done} kills, {runs} runs, {wrong} different", flush=True)
    return done, runs, wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        *_, wrong = soak(given.kills, Random(given.seed), Path(folder))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""Processes that claim run folders at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae_cli.config.folder_names import unique_stamp
from sae_cli.run_folder.folder import RunFolder
from tests.forked import CONTEXT, start


def race(outputs: Path, name: str | None, racers: int) -> list[tuple[str, str]]:
    """Claim at once; give the outcome and folder of each, named like a run's without a name."""
    barrier, answers = CONTEXT.Barrier(racers), CONTEXT.Queue()
    processes = [start(_claim, barrier, answers, outputs, name) for _ in range(racers)]
    found: list[tuple[str, str]] = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def _claim(barrier: Any, answers: Any, outputs: Path, name: str | None) -> None:
    barrier.wait()
    folder = outputs / (name or unique_stamp())
    said = "won"
    try:
        with RunFolder(folder).claim():
            # The claim is held until all have tried.
            barrier.wait()
    except Exception as error:
        said = type(error).__name__
        barrier.wait()
    answers.put((said, str(folder)))

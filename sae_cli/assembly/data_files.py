"""The files of a run's data, which the run goes on reading while it trains."""

from __future__ import annotations

from dataclasses import replace

from sae_cli.assembly.prepare import Prepared
from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.mapped import MEND


def check_files(made: Prepared) -> list[str]:
    """Refuse data that are no longer those that a run began with; word what only looks like it.

    That costs two calls of the system for each mapped file, and a reading of all data when a file
    may have been written to. Data that are in memory or on a GPU are in no file.

    Raises:
        ConfigError: a file has become shorter, or holds other values.
        MachineError: a file cannot be read.
    """
    files = made.training.dataset.files
    before = {file: made.looks.get(file, file.first) for file in files}
    made.looks.update({file: file.look() for file in files})
    changed = [file for file in files if made.looks[file].differs(before[file])]
    if changed and _fingerprint(made) != made.fingerprint:
        names = ", ".join(str(file.path) for file in changed)
        raise ConfigError(
            f"{names} was written to while it was read, and holds other values now; {MEND}"
        )
    left = [file for file in files if before[file].in_place and not made.looks[file].in_place]
    return [
        *(
            f"{file.path} was replaced, moved or removed: this run reads the file that was there "
            "before, and needs the same values if it is to be resumed"
            for file in left
        ),
        *(
            f"{file.path} was touched or written to: it holds the same values; if it held others "
            "in between, the run has learnt of those, too"
            for file in changed
            if file not in left
        ),
    ]


def _fingerprint(made: Prepared) -> str:
    """Give the fingerprint of the data now."""
    data = made.training.dataset
    return replace(data, train=replace(data.train, labels=made.labels)).fingerprint()

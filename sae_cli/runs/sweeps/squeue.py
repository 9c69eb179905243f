"""What Slurm says of its jobs."""

from __future__ import annotations

import os
import subprocess

LIMIT_SECONDS = 60.0


def ask_squeue(*options: str) -> str:
    """Give what ``squeue`` prints with these options alone.

    Raises:
        OSError: there is no such command.
        subprocess.SubprocessError: it fails, or does not answer in time.
    """
    # The user's own variables choose jobs, as options do, and what is left out looks gone.
    environment = {key: v for key, v in os.environ.items() if not key.startswith("SQUEUE_")}
    done = subprocess.run(
        ["squeue", *options],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
        env=environment,
    )
    return done.stdout

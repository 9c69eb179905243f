"""The command ``sae-train``, also as ``python -m sae_cli``."""

import os
import sys
from contextlib import suppress

from sae_cli.errors import Stopped
from sae_cli.stopping import stopping_at_once


def main() -> None:
    """Run the command line and exit with its code, or with 128 + n when signal n stopped it."""
    _open_output()
    try:
        with stopping_at_once():
            # Here, so that a signal meets the handlers also while the imports take their time.
            from sae_cli.cli import run

            sys.exit(run(sys.argv[1:]))
    except Stopped as stopped:
        # It may be that the terminal was closed.
        with suppress(OSError):
            print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.number)


def _open_output() -> None:
    """What cannot be printed does not stop a run: a closed output, a letter that it does not have.

    (A file that took the number of a closed output would get what is printed.)
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()

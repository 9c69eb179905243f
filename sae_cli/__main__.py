"""The command ``sae-train``, also as ``python -m sae_cli``."""

import sys

from sae_cli.errors import Stopped
from sae_cli.stopping import stopping_at_once


def main() -> None:
    """Run the command line and exit with its code, or with 128 + n when signal n stopped it."""
    try:
        with stopping_at_once():
            # Here, so that a signal meets the handlers also while the imports take their time.
            from sae_cli.cli import run

            sys.exit(run(sys.argv[1:]))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.number)


if __name__ == "__main__":
    main()

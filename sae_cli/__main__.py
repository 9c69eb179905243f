"""``python -m sae_cli`` is the command ``sae-train``."""

from sae_cli.cli import main

if __name__ == "__main__":
    main()

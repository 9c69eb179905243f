"""What ``--version`` shows, of every command."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from typing import Any

from sae_cli.core.text import say


def version_line(command: str) -> str:
    """Name a command's version, PyTorch's and Python's, without importing PyTorch."""
    return (
        f"{command} {version('sae-train')} (torch {version('torch')}, "
        f"Python {platform.python_version()})"
    )


class ShowVersion(argparse.Action):
    """Prints the versions and ends the command, whatever else stands on its line."""

    def __init__(self, option_strings: Any, dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        """Print them."""
        say(version_line(parser.prog))
        parser.exit()

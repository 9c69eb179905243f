"""Completion of a line that a shell is at, which has pages and plug-ins of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sae_cli.commands.arguments import own_pages
from sae_cli.commands.plugins import load_plugins
from sae_cli.config.hydra_shows import complete
from sae_cli.core.paths import full_path

# Shells hand the line over in this variable.
LINE = "COMP_LINE"
PLUGIN = re.compile(r"(?<=\s)--plugin[ =]+(\S+)\s+")
PLUGIN_AT_END = re.compile(r"\s--plugin[ =]*\S*$")
PAGES = re.compile(r"\s(?:--config-dir|-cd)[ =]+(\S+)\s")


def complete_line(question: Sequence[str], pages: Path | None) -> None:
    """Print what may follow, with the pages and the plug-ins that the line itself names.

    Args:
        question: of the shell, such as ``query=bash``.
        pages: those of the command that asks, if any.

    Raises:
        ConfigError: as ``complete``; or a plug-in cannot be loaded.
    """
    line = os.environ.get(LINE, "")
    if PLUGIN_AT_END.search(line):
        # The shell itself completes names of files.
        return
    if plugins := PLUGIN.findall(line):
        load_plugins(plugins)
        # Hydra completes the line, and knows no such option.
        os.environ[LINE] = PLUGIN.sub("", line)
    folders = [one for one in PAGES.findall(line) if full_path(one).is_dir()]
    complete(question, pages or (own_pages(folders[-1]) if folders else None))

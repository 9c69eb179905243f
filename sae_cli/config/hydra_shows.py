"""Things that only Hydra can show: its own help and settings, and completion."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from sae_cli.config.chosen_pages import PRIMARY
from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import LAUNCHING, HydraWords, compose_launcher


def hydra_settings(words: HydraWords, pages: Path | None) -> dict[str, Any]:
    """Give Hydra's own settings for a command line, their references as they are written.

    Args:
        pages: the user's own folder of pages, absolute; as in every function here.
    """
    with hydra_ready(pages):
        sweeper = [str(word.input_line) for word in words.sweeper]
        config = compose_launcher([*sweeper, *words.launcher])
    settings: Any = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
    for kind in ("run", "sweep"):
        settings[kind]["dir"] = words.folder(kind)
    return {key: value for key, value in settings.items() if key not in {"help", "hydra_help"}}


def print_hydra_help() -> None:
    """Print Hydra's help, which needs no pages."""
    with hydra_ready() as hydra:
        hydra.hydra_help(None, get_args_parser(), Namespace(overrides=list(LAUNCHING)))


def complete(question: Sequence[str], pages: Path | None) -> None:
    """Print the answer to a shell's question, such as ``install=bash``.

    Raises:
        ConfigError: there is no such question, or a page on the line that is to be completed would
            do more than set options.
    """
    with hydra_ready(pages) as hydra, explain_errors():
        hydra.shell_completion(PRIMARY, list(question))

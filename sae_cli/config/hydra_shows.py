"""Things that only Hydra can show: its own help and settings, and completion."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sae_cli.config.chosen_pages import PRIMARY
from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import HydraWords, compose_launcher

# What the command line takes of Hydra's own settings.
TAKEN = (
    *("hydra.run.dir=", "hydra.sweep.dir="),
    *("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper"),
)
HELP = """\
Of Hydra's own settings a command line takes these:

  hydra.run.dir=FOLDER    the folder of the run
  hydra.sweep.dir=FOLDER  the folder of the sweep (-m)

hydra/launcher: {launcher}
hydra/sweeper: {sweeper}

`sae-train --help hydra/launcher hydra/sweeper` explains these choices, and
`sae-train --cfg hydra -p hydra.launcher hydra/launcher=NAME` shows the options of one.

A shell completes words after eval "$(sae-train -sc install=bash)", or
sae-train -sc install=fish | source; uninstall= takes that back."""


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
    """Print what a command line may say of Hydra's own settings, which needs no pages."""
    with hydra_ready() as hydra:
        offered = {
            group: ", ".join(hydra.config_loader.get_group_options(f"hydra/{group}"))
            for group in ("launcher", "sweeper")
        }
    print(HELP.format(**offered))


def complete(question: Sequence[str], pages: Path | None) -> None:
    """Print the answer to a shell's question, such as ``install=bash``.

    Raises:
        ConfigError: there is no such question, or a page on the line that is to be completed would
            do more than set options.
    """
    answer = StringIO()
    with hydra_ready(pages) as hydra, explain_errors(), redirect_stdout(answer):
        hydra.shell_completion(PRIMARY, list(question))
    if not any(word.startswith("query=") for word in question):
        print(answer.getvalue(), end="")
        return
    # One shell takes words, another lines.
    for line in answer.getvalue().splitlines():
        words = line.split(" ")
        if taken := list(filter(_is_taken, words)):
            print(" ".join(taken))


def _is_taken(word: str) -> bool:
    """Tell whether a word is, or begins, something that the command line takes."""
    if not word.startswith("hydra"):
        return True
    return not word.endswith("._target_=") and any(
        word.startswith(one) or one.startswith(word) for one in TAKEN
    )

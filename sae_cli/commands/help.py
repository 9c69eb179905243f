"""What ``sae-train --help`` shows, from the texts of the pages alone: neither Hydra nor torch is
imported, and no page is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sae_cli.commands.help_topics import HelpTopics
from sae_cli.commands.help_words import GROUPS
from sae_cli.config.page_texts import Pages
from sae_cli.core.text import say

SCREEN = """\
sae-train trains auto-encoders, sparse ones above all, each into its own folder.

  sae-train                                   a sparse auto-encoder of digits
  sae-train model=vae penalty.weight=0.1      choose a page, set an option
  sae-train -m penalty.weight=0.01,0.05,0.2   a sweep: every value, a table
  sae-train experiment=hands_on_sparse_kl     a published result
  sae-train resume=FOLDER                     resume a stopped run or sweep

Choices, GROUP=NAME:

{groups}

Settings, KEY=VALUE: seed, epochs, batch_size, ... (--help settings)

Options:

  --help WORD ...      explain a group, a page or an option, such as
                       model, model=vae, penalty.target, settings
  --cfg job            show the whole configuration, without training
  -m, --multirun       sweep over KEY=A,B,C or logspace(1e-4,1,9)
  --config-dir FOLDER  use your own pages beside these
  --plugin FILE        use your own parts, from a Python file or package
  --version            show the versions of sae-train, PyTorch and Python
  --traceback          show where an error came from"""


def print_help(words: Sequence[str], own: Path | None) -> None:
    """Print the help on each of these words, or a screen of what there is.

    Args:
        words: as on a command line, values included.
        own: the user's own folder of pages, absolute.

    Raises:
        ConfigError: there is nothing of that name.
    """
    pages = Pages(own)
    if not words:
        lines = SCREEN.format(groups="\n".join(_group_lines(pages))).splitlines()
    else:
        topics = HelpTopics(pages)
        explained = [topics.explain(word) for word in dict.fromkeys(words)]
        lines = [line for one in explained for line in ("", *one)][1:]
    for line in lines:
        say(line)


def _group_lines(pages: Pages) -> list[str]:
    return [
        f"  {group:14} {len(pages.names(group)):3}  {meaning}" for group, meaning in GROUPS.items()
    ]

"""What ``sae-train --help`` shows: commands to begin with, the choices, and every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sae_cli.core.errors import in_one_line
from sae_cli.run_folder.plain_yaml import as_yaml

TEXT = """\
sae-train trains auto-encoders, sparse ones above all, into a folder per run.

  sae-train                                          a sparse auto-encoder on 8x8 digits
  sae-train model=sparse_kl penalty.weight=0.05      another weight
  sae-train -m penalty.weight=0.01,0.05,0.2          a sweep
  sae-train experiment=hands_on_sparse_kl            a published result

Choices, GROUP=NAME:

{choices}

Settings and options with their values now, KEY=VALUE:

{settings}
sae-train --cfg job            the whole configuration, without training
sae-train -m KEY=A,B,C         a sweep: every combination, a folder each, a table at the end
sae-train --config-dir FOLDER  your own pages beside these
sae-train --traceback          where an error came from"""


def help_text(choices: Mapping[str, Sequence[str]], configuration: Mapping[str, Any]) -> str:
    """Write the help.

    Args:
        choices: group -> the names of its pages.
        configuration: what the command line would train.
    """
    # Pages may have names that command a terminal.
    lines = [in_one_line(f"{group}: {', '.join(names)}") for group, names in choices.items()]
    settings = as_yaml(dict(configuration)).decode()
    return TEXT.format(choices="\n".join(lines), settings=settings)

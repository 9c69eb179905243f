"""One run as a command line asks for it, before its configuration is checked."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sae_cli.core.errors import ConfigError


class Composed(NamedTuple):
    """A composed configuration and what it came from.

    Attributes:
        run: the configuration, plain values.
        choices: group -> name of the chosen page.
        overrides: what the command line changed.
    """

    run: dict[str, Any]
    choices: dict[str, Any]
    overrides: list[str]

    def folder_name(self, pattern: str) -> str:
        """Resolve a pattern to a name: ``${seed}``, ``${now:%Y}``, ``${hydra:job.name}`` ...

        Raises:
            ConfigError: the pattern refers to something that does not exist.
        """
        known = {
            "runtime": {"choices": self.choices, "cwd": os.getcwd()},
            "job": {"name": "sae-train", "override_dirname": ",".join(sorted(self.overrides))},
        }
        # ${hydra:KEY} is Hydra's own way to refer to its settings from anywhere.
        plain = pattern.replace("${hydra:", "${hydra.")
        try:
            return str(OmegaConf.create(self.run | {"hydra": known, "folder": plain}).folder)
        except OmegaConfBaseException as error:
            problem = str(error).partition("\n")[0]
            raise ConfigError(f"the folder's name {pattern}: {problem}") from error

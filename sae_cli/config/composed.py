"""One run as it was asked for, before its configuration is checked."""

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
        """The name that a pattern gives: ``${seed}``, ``${now:%Y}``, ``${hydra:job.name}`` ...

        Raises:
            ConfigError: it refers to something that is not there.
        """
        known = {
            "runtime": {"choices": self.choices, "cwd": os.getcwd()},
            "job": {"name": "sae-train", "override_dirname": ",".join(sorted(self.overrides))},
        }
        # Hydra's own way to refer to its settings from anywhere.
        plain = pattern.replace("${hydra:", "${hydra.")
        try:
            return str(OmegaConf.create(self.run | {"hydra": known, "folder": plain}).folder)
        except OmegaConfBaseException as error:
            problem = str(error).partition("\n")[0]
            raise ConfigError(f"the folder's name {pattern}: {problem}") from error

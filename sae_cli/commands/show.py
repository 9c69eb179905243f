"""What ``sae-train`` shows instead of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_cli.commands.arguments import Arguments
from sae_cli.commands.completion import complete_line
from sae_cli.config.asked import Asked, read
from sae_cli.config.hydra_shows import hydra_settings, print_hydra_help
from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.plain_yaml import as_yaml


def show(arguments: Arguments) -> None:
    """Print what a command line asks to see.

    Raises:
        ConfigError: what it would train is wrong.
    """
    if arguments.shows == "completion":
        complete_line(arguments.overrides, arguments.pages)
        return
    asked = read(arguments.overrides, multirun=arguments.multirun, pages=arguments.pages)
    if arguments.shows == "hydra_help":
        print_hydra_help()
    else:
        shown = _part(_configuration(arguments, asked), arguments.package)
        print(as_yaml(shown).decode(), end="")


def _configuration(arguments: Arguments, asked: Asked) -> dict[str, Any]:
    """Give what ``--cfg`` shows of the run (or the first job) and of Hydra."""
    run = asked.runs[0].run
    if arguments.shows == "job":
        return run
    settings = {"hydra": hydra_settings(asked.hydra, arguments.pages)}
    return settings if arguments.shows == "hydra" else run | settings


def _part(configuration: Mapping[str, Any], package: str | None) -> Any:
    """Give a part of the configuration by its dotted name, or all of it without one."""
    shown: Any = configuration
    for key in package.split(".") if package else ():
        if not isinstance(shown, dict) or key not in shown:
            raise ConfigError(
                f"--package {package}: no such key; the keys are {', '.join(configuration)}"
            )
        shown = shown[key]
    return shown

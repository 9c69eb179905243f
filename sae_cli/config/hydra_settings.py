"""The words of a command line for Hydra itself: names of folders, and the launcher of jobs.

Nothing else of Hydra's settings is used, so no page can act through them. A launcher is
composed by itself, without any page of the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hydra import compose
from hydra.conf import HydraConf
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from sae_cli.config.hydra_pages import check_references
from sae_cli.config.texts import TEXTS
from sae_cli.core.errors import ConfigError

# These patterns name the folders of a run and of a sweep where the command line does not.
FOLDERS = {
    "run": "outputs/${unique_stamp:}_${hydra.runtime.choices.model}"
    "_${hydra.runtime.choices.dataset}",
    "sweep": "outputs/${unique_stamp:}_sweep",
}
# A job needs neither a folder nor a log from Hydra.
LAUNCHING = (
    *("hydra.output_subdir=null", "hydra.sweep.subdir=."),
    *("hydra/job_logging=none", "hydra/hydra_logging=none"),
)
ALLOWED = (
    "of Hydra's own settings only hydra.run.dir, hydra.sweep.dir, hydra/launcher, hydra/sweeper "
    "and their options hydra.launcher.OPTION and hydra.sweeper.OPTION are"
)
# Messages name each key of these parts of the settings in full.
NAMED_IN_FULL = {"run", "sweep", "job"}


@dataclass(frozen=True)
class HydraWords:
    """The words of a command line for Hydra.

    Attributes:
        folders: ``run`` or ``sweep`` -> how its folder is named, where that was given.
        launcher: the words that choose a launcher and set its options.
        sweeper: those that choose a sweeper and set its options.
    """

    folders: dict[str, str]
    launcher: list[str]
    sweeper: list[Override]

    def folder(self, kind: str) -> str:
        """Give the pattern that names the folder of a ``run`` or a ``sweep``."""
        return self.folders.get(kind, FOLDERS[kind])


def split_words(overrides: Sequence[Override]) -> tuple[list[Override], HydraWords]:
    """Split overrides into those of the run and the words for Hydra.

    Raises:
        ConfigError: a word for Hydra is not for the command line.
    """
    own = [override for override in overrides if not _is_hydra(override)]
    words = HydraWords({}, [], [])
    for override in filter(_is_hydra, overrides):
        key = override.key_or_group.replace("/", ".")
        check_references({key: override.value()}, functions=True)
        if key == "hydra.sweeper" or key.startswith("hydra.sweeper."):
            words.sweeper.append(override)
            continue
        if override.is_sweep_override():
            raise not_to_sweep(override)
        if override.package is not None:
            raise not_to_change("hydra")
        if key in {"hydra.run.dir", "hydra.sweep.dir"}:
            words.folders[key.split(".")[1]] = _folder(override)
        elif key == "hydra.launcher" or key.startswith("hydra.launcher."):
            words.launcher.append(str(override.input_line))
        else:
            raise not_to_change(key)
    return own, words


def _is_hydra(override: Override) -> bool:
    root = re.split("[./]", override.key_or_group)[0]
    return root == "hydra" or "hydra" in (override.package or "")


def not_to_sweep(override: Override) -> ConfigError:
    """Word the error of several values for Hydra itself."""
    line, key = str(override.input_line), override.key_or_group
    name = line.partition("=")[2]
    quoted = f", or quote a name that holds a comma: '{key}=\"{name}\"'" if key in TEXTS else ""
    return ConfigError(
        f"{line}: Hydra's own settings are the same for every job; give one value{quoted}"
    )


def _folder(override: Override) -> str:
    value = override.value()
    if not isinstance(value, str) or override.type is not OverrideType.CHANGE:
        key = override.key_or_group
        raise ConfigError(f"{override.input_line}: give the name of one folder, {key}=FOLDER")
    return value


def not_to_change(key: str) -> ConfigError:
    """Word the error of a setting of Hydra's that stays as it is."""
    part = key.split(".")[1] if "." in key else None
    if part and part not in {field.name for field in fields(HydraConf)}:
        return ConfigError(f"unknown key {key}; {ALLOWED} for the command line")
    named = f"hydra.{part}" if part and part not in NAMED_IN_FULL else key
    search = "; a sweep tries every combination of -m KEY=A,B,C, hydra/sweeper=optuna searches"
    hint = search if part == "sweeper" else ""
    return ConfigError(f"{named} is not for a page or the command line to change; {ALLOWED}{hint}")


def compose_launcher(words: Sequence[str]) -> DictConfig:
    """Compose Hydra's settings alone, as a launcher takes them.

    Raises:
        ConfigError: the launcher would run something that is not a launcher.
    """
    config = compose(None, [*LAUNCHING, *words], return_hydra_config=True)
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    launcher = hydra.get("launcher")
    target = launcher.get("_target_") if isinstance(launcher, dict) else launcher
    known = target in Plugins.instance().class_name_to_class
    if not known or OmegaConf.to_yaml(launcher).count("_target_") > 1:
        raise ConfigError(
            f"hydra.launcher asks to run {target}, or something within it, that is not a launcher; "
            "choose one with hydra/launcher=NAME"
        )
    return config

"""Hydra's own settings come from the command line: Hydra runs what they name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra import compose
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from sae_cli.config.hydra_pages import PRIMARY, check_references
from sae_cli.core.errors import ConfigError

# What the command line may change. The search path is how --config-dir is given to Hydra.
CHOSEN = {"run.dir", "sweep.dir", "launcher", "searchpath", "runtime"}
# The parts of the settings of which each key is named by itself.
NAMED_IN_FULL = {"run", "sweep", "job"}
# What Hydra writes there itself, whatever a page says.
FILLED_IN = {"overrides", "runtime.choices", "runtime.cwd", "job.override_dirname"}


def check_overrides(overrides: Sequence[Override]) -> None:
    """No override calls a function; folders may be named with those that name ours.

    Raises:
        ConfigError: one does.
    """
    for override in overrides:
        given = {override.key_or_group: override.value()}
        check_references(given, functions=_is_hydra(override))


def check_hydra(hydra: DictConfig, overrides: Sequence[Override]) -> None:
    """A page that somebody sent can change nothing of Hydra's own settings.

    Args:
        hydra: the settings as composed.
        overrides: the command line they were composed with.

    Raises:
        ConfigError: a page changes a setting, or the command line one that is not meant to be.
    """
    given = _settings(hydra)
    own = _composed(tuple(str(o.input_line) for o in overrides if _is_hydra(o)))
    key = _difference(given, own, FILLED_IN)
    # Hydra adds the command line to what pages say here, and hands all of it to a sweep's jobs.
    lines: dict[str, list[str | None]] = {"hydra": [], "task": []}
    for override in overrides:
        lines["hydra" if override.is_hydra_override() else "task"].append(override.input_line)
    if given["overrides"] != lines:
        key = "overrides"
    if key is not None:
        raise ConfigError(
            f"hydra.{key} is set by a page; Hydra's own settings are given on the command line only"
        )
    key = _difference(own, _composed(()), FILLED_IN | CHOSEN)
    if key is not None:
        part = key.partition(".")[0]
        raise ConfigError(
            f"hydra.{key if part in NAMED_IN_FULL else part} is not for a page or the command line "
            "to change; of Hydra's own settings only hydra.run.dir, hydra.sweep.dir and "
            "hydra/launcher are"
        )
    launcher = own.get("launcher")
    target = launcher.get("_target_") if isinstance(launcher, dict) else launcher
    known = target in Plugins.instance().class_name_to_class
    if not known or OmegaConf.to_yaml(launcher).count("_target_") > 1:
        raise ConfigError(
            f"hydra.launcher asks to run {target}, or something within it, that is no launcher; "
            "choose one with hydra/launcher=NAME"
        )


def _is_hydra(override: Override) -> bool:
    return override.key_or_group.replace("/", ".").split(".")[0] == "hydra"


# A sweep composes many jobs, which share Hydra's settings.
@lru_cache(maxsize=2)
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return _settings(compose(PRIMARY, list(overrides), return_hydra_config=True).hydra)


def _settings(hydra: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(hydra, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _difference(given: Any, own: Any, but: set[str], key: str = "") -> str | None:
    """The first key, dotted, whose values differ."""
    if key in but or given == own:
        return None
    if not (isinstance(given, dict) and isinstance(own, dict)):
        return key
    names = [*own, *(name for name in given if name not in own)]
    inner = [(name, f"{key}.{name}" if key else str(name)) for name in names]
    found = (_difference(given.get(n), own.get(n), but, dotted) for n, dotted in inner)
    return next((dotted for dotted in found if dotted is not None), None)

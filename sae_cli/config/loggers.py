"""The trackers of a run: unlike a part, none or several are chosen, and each has a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_cli.config.settings import LOGGER
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.registry import validate
from sae_cli.trackers import TRACKERS

NONE = "none"


def check_loggers(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Check names and options, and fill in the options that are left out.

    Args:
        given: name -> options.

    Raises:
        ConfigError: one line on the first fault.
    """
    checked = {}
    for name, options in given.items():
        if name not in TRACKERS.names:
            raise ConfigError(unknown_logger(name))
        schema = TRACKERS.schema(name)
        checked[name] = validate(schema, options, f"{LOGGER}.{name}", f"{name} takes")
    return checked


def unknown_logger(name: str) -> str:
    """Word the error of a tracker that does not exist."""
    names = (NONE, *TRACKERS.names)
    listed = f"choose one or several of {', '.join(names)}"
    return f"{LOGGER}={name} is unknown; {listed}{nearest(name, names)}"


def unknown_option(key: str, chosen: Mapping[str, Mapping[str, Any]]) -> str:
    """Word the error of an option that no chosen tracker has.

    Args:
        key: ``logger.NAME.OPTION``, or what was given in its place.
        chosen: the trackers of the run, with their options.
    """
    _, _, rest = key.partition(".")
    name, _, option = rest.partition(".")
    if name in chosen:
        prefix = f"{LOGGER}.{name}."
        takes = [one for one in chosen[name] if one != option]
        return f"unknown key {key}: {name} takes {', '.join(takes)}{nearest(option, takes, prefix)}"
    if name in TRACKERS.names:
        others = [one for one in (*chosen, name)]
        both = f"[{','.join(others)}]" if chosen else name
        return f"{key}: the run has no {LOGGER}={name}; choose it with {LOGGER}={both}"
    return (
        f"unknown key {key}: options are {LOGGER}.NAME.OPTION, with a NAME of "
        f"{', '.join(chosen or TRACKERS.names)}"
    )


def choose(given: Any) -> Any:
    """Give the sections of trackers that are chosen by name, one or several; others as they are."""
    names = [given] if isinstance(given, str) else given
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: {} for name in names if name != NONE}
    return given

"""What is wrong with the launcher of a sweep's jobs, or with its options, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sae_cli.core.errors import nearest

GROUP, OPTION = "hydra/launcher", "hydra.launcher."
# What has to be installed for launchers that are not Hydra's own.
INSTALLED_BY = {
    "joblib": "'sae-train[parallel]'",
    "submitit_local": "'sae-train[cluster]'",
    "submitit_slurm": "'sae-train[cluster]'",
    "ray": "hydra-ray-launcher in an environment of its own (docs/beyond.md says how)",
}
# How OmegaConf words a value of another type than the option is of, and what would do.
TYPES = {
    "converted to Integer": "must be a whole number",
    "converted to Float": "must be a number",
    "is not a valid bool": "must be true or false",
    "to string": "must be text; put it in quotes",
    r"is not a ListConfig|_type=(Optional\[)?List": "must be a list, [A,B]",
    r"to Dict|_type=(Optional\[)?Dict": "must have names, {NAME:VALUE}",
    "is not Optional": "needs a value",
}


def not_installed(launcher: str, others: Iterable[str]) -> str | None:
    """Word the error of a launcher that would have to be installed; None for an unknown one."""
    if launcher not in INSTALLED_BY:
        return None
    return (
        f"{GROUP}={launcher} is not installed; pip install {INSTALLED_BY[launcher]}, or choose "
        f"one of {', '.join(others)}"
    )


def wrong_value(word: str, chain: Sequence[BaseException]) -> str | None:
    """Word the error of a value that is not of its option's type; None if that is not known.

    Args:
        word: as it was given, ``KEY=VALUE``.
        chain: the error, and what it came from.
    """
    if word.startswith(f"~{OPTION}"):
        return f"{word}: the launcher needs all of its options; leave {word} out"
    for error in chain:
        if not isinstance(error, OmegaConfBaseException):
            continue
        said = [needed for pattern, needed in TYPES.items() if re.search(pattern, str(error))]
        if said:
            return f"{word}: {said[0]}{_without(error)}"
    return None


def _without(error: OmegaConfBaseException) -> str:
    """Say what the option is where nobody gives it."""
    options, key = _options(error), str(error.key)
    value = options.get(key)
    if key not in options or isinstance(value, dict | list) or "${" in str(value):
        return ""
    text = "null" if value is None else str(value)
    return f"; leave it out for {text.lower() if isinstance(value, bool) else text}"


def unknown_launcher_option(key: str, chain: Sequence[BaseException]) -> str:
    """Word the error of an option that the launcher does not have."""
    found = [_options(error) for error in chain if isinstance(error, OmegaConfBaseException)]
    options = [name for name in next(iter(found), {}) if not name.startswith("_")]
    if not options:
        return (
            f"unknown key {key}: the launcher has no such option; choose one that has with "
            f"{GROUP}=NAME; `sae-train --cfg hydra -p hydra.launcher {GROUP}=NAME` shows its "
            "options"
        )
    prefix, _, name = key.rpartition(".")
    near = nearest(name, options, f"{prefix}.")
    return f"unknown key {key}: the launcher takes {', '.join(options)}{near}"


def _options(error: OmegaConfBaseException) -> Mapping[str, Any]:
    """Give the options that the launcher has, where an error tells of one."""
    node = error.parent_node
    if not isinstance(node, DictConfig):
        return {}
    options = OmegaConf.to_container(node, resolve=False)
    return {str(key): value for key, value in options.items()} if isinstance(options, dict) else {}

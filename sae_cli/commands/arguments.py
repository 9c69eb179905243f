"""The command line before Hydra reads it: what is no override and no option is said plainly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sae_cli.core.errors import ConfigError, nearest

TRACEBACK = "--traceback"
MULTIRUN = {"-m", "--multirun"}
COMPLETION = {"-sc", "--shell-completion"}
# Options of Hydra that show something instead of training.
SHOWING = {
    *("-h", "--help", "--hydra-help", "--version"),
    *("-c", "--cfg", *COMPLETION),
}
CONFIG_DIR = {"-cd", "--config-dir"}
CFG = {"-c", "--cfg"}
CFG_VALUES = ("job", "hydra", "all")
PACKAGE = {"-p", "--package"}
WITH_VALUE = {*PACKAGE, *CFG, *CONFIG_DIR}
PLAIN = {*SHOWING, *MULTIRUN, TRACEBACK}
ALLOWED = sorted(PLAIN | WITH_VALUE)


@dataclass(frozen=True)
class Arguments:
    """A command line taken apart.

    Attributes:
        overrides: ``key=value`` and the like.
        multirun: whether it asks for a sweep.
        shows: whether it asks for help or the like instead of a training.
        completes: whether it asks a shell's question, which is no override.
        shows_config: whether it asks for the run's configuration.
        package: which part of it.
        version: whether it asks for the version.
        config_dir: the user's own folder of pages, if any.
        resume: the folder of a run or sweep to go on with, if any.
        for_hydra: what Hydra is given.
    """

    overrides: list[str]
    multirun: bool
    shows: bool
    completes: bool
    shows_config: bool
    package: str | None
    version: bool
    config_dir: str | None
    resume: str | None
    for_hydra: list[str]


def parse(arguments: Sequence[str]) -> Arguments:
    """Take a command line apart.

    Raises:
        ConfigError: something on it is neither an option nor an override.
    """
    overrides: list[str] = []
    resume: str | None = None
    config_dir: str | None = None
    shown: str | None = None
    package: str | None = None
    value_of: str | None = None
    for argument in arguments:
        name, _, value = argument.partition("=")
        if value_of is not None:
            config_dir = argument if value_of in CONFIG_DIR else config_dir
            shown = argument if value_of in CFG else shown
            package = argument if value_of in PACKAGE else package
            value_of = None
        elif name in WITH_VALUE:
            value_of = None if value else name
            config_dir = value if value and name in CONFIG_DIR else config_dir
            shown = value if value and name in CFG else shown
            package = value if value and name in PACKAGE else package
        elif argument in PLAIN:
            continue
        else:
            _check_override(argument)
            if name == "resume":
                resume = value
            else:
                overrides.append(argument)
    if value_of in WITH_VALUE:
        raise ConfigError(f"{value_of} needs a value")
    if package is not None and shown is None:
        raise ConfigError("--package says which part of --cfg to show; give --cfg job with it")
    if shown is not None and shown not in CFG_VALUES:
        raise ConfigError(f"--cfg {shown}: choose one of {', '.join(CFG_VALUES)}")
    return Arguments(
        overrides,
        multirun=bool(MULTIRUN & set(arguments)),
        shows=any(argument.partition("=")[0] in SHOWING for argument in arguments),
        completes=bool(COMPLETION & set(arguments)),
        shows_config=shown == "job",
        package=package,
        version="--version" in arguments,
        config_dir=config_dir,
        resume=resume,
        for_hydra=[argument for argument in arguments if argument != TRACEBACK],
    )


def changes(overrides: Sequence[str]) -> dict[str, Any]:
    """Keys and values of overrides, without Hydra.

    Raises:
        ConfigError: a value cannot be read.
    """
    found = {}
    for override in overrides:
        key, _, value = override.partition("=")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{override}: the value cannot be read") from None
    return found


def _check_override(argument: str) -> None:
    key, equals, value = argument.partition("=")
    if argument.startswith("-"):
        bare = argument.lstrip("-")
        if equals:
            raise ConfigError(f"{argument}: settings have no dashes; write {bare}")
        raise ConfigError(
            f"{argument} is no option; the options are {', '.join(ALLOWED)}"
            + nearest(argument, ALLOWED)
        )
    if argument == "=" or key != key.rstrip() or (equals and value[:1] == " "):
        raise ConfigError(f"{argument!r}: write key=value without spaces around the =")
    if not equals and not argument.startswith("~"):
        raise ConfigError(
            f"{argument!r} is no setting; write key=value without spaces, for example "
            "model=sparse_kl or penalty.weight=0.05"
        )
    if equals and not value and key not in {"hydra.run.dir"}:
        raise ConfigError(
            f"{argument!r} gives no value; write {key}=value without spaces around the ="
        )

"""The words of a command line that ask for a search, ``hydra/sweeper=optuna``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType

from sae_cli.config.hydra_settings import HydraWords, not_to_change, not_to_sweep
from sae_cli.config.search_dimensions import Probe
from sae_cli.config.search_space import ASKING, OPTUNA, Dimension, SearchOptions
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.registry import validate

SWEEPER, BASIC = "hydra.sweeper", "basic"
OBJECTIVE = "objective"


@dataclass(frozen=True)
class SearchWords:
    """A search as a command line asks for it.

    Attributes:
        probes: what each of the composed runs is.
    """

    options: SearchOptions
    objectives: list[str]
    dimensions: list[Dimension]
    probes: list[Probe]


def offer_search() -> None:
    """Let Hydra know the sweeper and its options, so that it completes and shows them."""
    options = SearchOptions().model_dump()
    ConfigStore.instance().store(f"{OPTUNA}.yaml", options, group="hydra/sweeper", package=SWEEPER)


def read_objectives(own: Sequence[Override]) -> tuple[list[Override], list[str]]:
    """Split overrides into those of the run and the names of the objectives.

    Raises:
        ConfigError: they are not one name or a list of names.
    """
    objectives: list[str] = []
    for override in own:
        if override.key_or_group != OBJECTIVE:
            continue
        value = override.value()
        names = [value] if isinstance(value, str) else value
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) for name in names)
            or len(set(names)) < len(names)
            or override.type is not OverrideType.CHANGE
            or objectives
        ):
            raise ConfigError(
                f"{override.input_line}: name one metric, {OBJECTIVE}=val/fvu, or once a list of "
                f"different ones, {OBJECTIVE}=[val/fvu,val/l0]"
            )
        objectives = list(map(str, names))
    return [override for override in own if override.key_or_group != OBJECTIVE], objectives


def read_options(
    hydra: HydraWords, objectives: Sequence[str], *, multirun: bool
) -> SearchOptions | None:
    """Read the options of a search; None where none is asked for.

    Raises:
        ConfigError: words for a search without one, or options that do not go together.
    """
    name, given = _sweeper(hydra.sweeper)
    if name == BASIC:
        if objectives:
            raise ConfigError(
                f"{OBJECTIVE}={','.join(objectives)} is what a search is for; add -m {ASKING}, or "
                "leave it out (sort_by=METRIC sorts the table of a sweep)"
            )
        if given:
            raise not_to_change(f"{SWEEPER}.{next(iter(given))}")
        return None
    if not multirun:
        raise ConfigError(f"{ASKING}: a search makes many runs; add -m, or leave it out")
    options = SearchOptions(**validate(SearchOptions, given, SWEEPER, "a search takes"))
    if not objectives:
        raise ConfigError(
            f"{ASKING} needs to know what is to be best; give {OBJECTIVE}=METRIC, such as val/fvu, "
            f"or several, {OBJECTIVE}=[val/fvu,val/l0]"
        )
    if options.pruner != "none":
        _check_pruned(options.pruner, objectives)
    parallel = any(word != "hydra/launcher=basic" for word in hydra.launcher)
    if parallel and "n_jobs" not in given:
        raise ConfigError(
            f"{hydra.launcher[0]}: a search starts as many runs at a time as {SWEEPER}.n_jobs "
            f"says; give it, such as {SWEEPER}.n_jobs=2"
        )
    return options


def _sweeper(words: Sequence[Override]) -> tuple[str, dict[str, Any]]:
    """Give the name of the chosen sweeper and the options that were given."""
    name, given = BASIC, {}
    for override in words:
        key = override.key_or_group.replace("/", ".")
        if override.type is not OverrideType.CHANGE or override.package is not None:
            raise not_to_change(key)
        if override.is_sweep_override():
            raise not_to_sweep(override)
        if key != SWEEPER:
            given[key.removeprefix(f"{SWEEPER}.")] = override.value()
        elif override.value() in (OPTUNA, BASIC):
            name = str(override.value())
        else:
            near = nearest(str(override.value()), (OPTUNA, BASIC), "hydra/sweeper=")
            raise ConfigError(f"{override.input_line}: choose one of {BASIC}, {OPTUNA}{near}")
    return name, given


def _check_pruned(pruner: str, objectives: Sequence[str]) -> None:
    key = f"{SWEEPER}.pruner={pruner}"
    if len(objectives) > 1:
        raise ConfigError(
            f"{key} compares runs by one {OBJECTIVE}, and there are {len(objectives)}; leave it "
            "out, or give one"
        )
    if not objectives[0].startswith("val/"):
        raise ConfigError(
            f"{key} compares runs after each epoch, when only metrics of val/ are known; leave it "
            f"out, or give {OBJECTIVE}=val/..."
        )

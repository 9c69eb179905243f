"""Words that ask for several values: what a sweep takes, and what one run says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from omegaconf import OmegaConf

from sae_cli.config.texts import TEXTS
from sae_cli.core.errors import ConfigError


def check_sweep(override: Override, groups: Collection[str], *, searched: bool) -> None:
    """Refuse what no sweep tries.

    Args:
        groups: names of groups, whose choices are names of pages.
        searched: whether this is a search, which tries any value of an interval.

    Raises:
        ConfigError: a range without steps, or names of pages for something that has none.
    """
    key, line, value = override.key_or_group, override.input_line, override.value()
    if isinstance(value, IntervalSweep) and not searched:
        raise ConfigError(
            f"{line}: a sweep tries single values, and an interval has none; write {key}=A,B,C, "
            f"{key}=logspace(START,END,N) or linspace with -m, or search it: hydra/sweeper=optuna"
        )
    if isinstance(value, Glob) and key not in groups:
        raise ConfigError(
            f"{line}: glob finds pages, and {key} does not choose one; write {key}=A,B,C with -m"
        )


def refuse_sweep(override: Override, default: Callable[[str], Any]) -> ConfigError:
    """Word the error of several values for one run.

    Args:
        default: gives the value of a key without this override.
    """
    key, line = override.key_or_group, str(override.input_line)
    values = line.partition("=")[2]
    if override.is_sweep_override() and key in TEXTS and "(" not in values:
        return ConfigError(
            f"{line} are several values; add -m to sweep over them, or quote a name that holds a "
            f"comma: '{key}=\"{values}\"'"
        )
    if OmegaConf.is_list(default(key)) and "(" not in values:
        each = ",".join(f"[{value}]" for value in values.split(","))
        return ConfigError(
            f"{line}: write {key}=[{values}] for one list, or -m {key}={each} to sweep over several"
        )
    return ConfigError(f"{line} are several values; add -m to sweep over them, or give one")

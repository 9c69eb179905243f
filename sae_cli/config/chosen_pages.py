"""What the pages make of a run's choices, composed once for all jobs of a sweep that share them.

To compose a set of pages takes Hydra a fifth of a second; to set values in the result takes a
hundredth of that.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

PRIMARY = "train"


def compose_choices(parsed: Sequence[Override]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compose pages and set values, as Hydra does for one run.

    Args:
        parsed: the run's overrides.

    Returns:
        the configuration, its references as they are written; and group -> name of the page.
    """
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    chosen: list[Override] = []
    values: list[Override] = []
    for override in parsed:
        # Hydra itself tells the two apart so.
        names_page = loader.repository.group_exists(override.key_or_group)
        is_choice = names_page and not isinstance(override.value(), dict)
        (chosen if is_choice else values).append(override)
    pages, choices = _pages(tuple(str(override.input_line) for override in chosen))
    loader.validate_sweep_overrides_legal(values, run_mode=RunMode.RUN, from_shell=False)
    config = pickle.loads(pages)
    loader._apply_overrides_to_config(values, config)
    return plain(config), choices


def forget() -> None:
    """Forget what was composed, because other pages are read next."""
    for kept in (_pages, choices_of_pages, own_pages):
        kept.cache_clear()


@cache
def _pages(overrides: tuple[str, ...]) -> tuple[bytes, dict[str, Any]]:
    """Give the configuration, pickled, because OmegaConf takes seven times as long to copy it."""
    config = compose(PRIMARY, list(overrides), return_hydra_config=True)
    # Only the choices are read of Hydra's own settings, whatever a page says about the rest.
    choices = plain(config.hydra.runtime.choices)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return pickle.dumps(config), choices


@cache
def choices_of_pages(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Find what the model and the experiment choose of each group."""
    loader = GlobalHydra.instance().config_loader()
    found = loader.compute_defaults_list(PRIMARY, list(overrides), RunMode.RUN)
    return dict(found.overrides.known_choices)


@cache
def own_pages(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Compose a configuration with these parts, without a model or an experiment."""
    return plain(compose(PRIMARY, [*overrides, "~model", "~experiment"]))


def plain(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """Give a configuration as plain values.

    Args:
        resolve: whether references become the values that they refer to.
    """
    found = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}

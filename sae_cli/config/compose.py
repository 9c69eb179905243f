"""From YAML pages and overrides to plain configurations, by Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from sae_cli.config.folder_names import job_folder, unique_stamp
from sae_cli.config.hydra_pages import PRIMARY as PRIMARY
from sae_cli.config.hydra_pages import check_references, guard_pages
from sae_cli.config.hydra_settings import check_hydra, check_overrides
from sae_cli.core.errors import ConfigError

HERE = Path(__file__).parents[1]
# Inside an installed package, or beside it in a checkout.
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"
PAGES = ("model", "experiment")


def register_resolvers() -> None:
    """The two functions that ``conf/train.yaml`` names folders with."""
    OmegaConf.register_new_resolver("unique_stamp", unique_stamp, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


@contextmanager
def hydra_ready() -> Iterator[None]:
    """Hydra's compose functions work inside."""
    register_resolvers()
    guard_pages()
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="sae-train"):
        yield


def jobs(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """The overrides of each job of a sweep, in Hydra's order; of the one job without a sweep.

    Raises:
        ConfigError: a choice that is no name, or a sweep over nothing.
    """
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    groups = loader.list_groups("")
    for override in parsed:
        if override.is_delete() and override.key_or_group in PAGES:
            raise ConfigError(f"{override.input_line}: a run needs one; choose another instead")
        if override.key_or_group in groups and not override.is_delete():
            _check_choice(override)
    if not multirun:
        return [list(overrides)]
    found = [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    if not found:
        raise ConfigError(f"{' '.join(overrides)} sweeps over nothing; give KEY=A,B,C")
    return found


def _check_choice(override: Override) -> None:
    """Hydra's own complaint about a choice that is not a name is no sentence."""
    value = override.value()
    if value is None or isinstance(value, (bool, int, float, dict, list)):
        group = override.key_or_group
        raise ConfigError(
            f"{override.input_line}: choose a page by its name, {group}=NAME; its options are set "
            f"one by one, {group}.OPTION=VALUE"
        )


def composed(overrides: Sequence[str]) -> tuple[dict[str, Any], DictConfig]:
    """The run's configuration that these overrides make, as plain values, and Hydra's own.

    A part that the command line chose instead of a page's stands as its own page has it, with the
    command line's values: what the page says of that group was meant for the other part.

    Raises:
        ConfigError: an experiment with another model; a page without its package line; a page or
            an override that would do more than set options.
    """
    parsed = _parsed(overrides)
    check_overrides(parsed)
    config = compose(PRIMARY, list(overrides), return_hydra_config=True)
    hydra = config.hydra
    check_hydra(hydra, parsed)
    choices = hydra.runtime.choices
    for page in PAGES:
        if isinstance(config.get(page), DictConfig):
            raise ConfigError(
                f"{page}={choices[page]}: its page must begin with the line '# @package _global_'"
            )
    run = _plain(config)
    run = {page: choices[page] for page in PAGES} | run
    keys = {override.key_or_group for override in parsed}
    if "model" in keys and run["experiment"] is not None:
        raise ConfigError(
            f"experiment={run['experiment']} brings its own model; leave out model=, or the "
            "experiment"
        )
    for group in sorted(keys - set(PAGES)):
        if isinstance(run.get(group), dict) and _replaced(group, overrides, choices[group]):
            on_line = {k: v for k, v in run[group].items() if f"{group}.{k}" in keys}
            run[group] = _own_page(group, overrides) | on_line
    return run, hydra


def _plain(config: DictConfig) -> dict[str, Any]:
    own = [str(key) for key in config if key != "hydra"]
    masked = OmegaConf.masked_copy(config, own)
    check_references(OmegaConf.to_container(masked, resolve=False))
    plain = OmegaConf.to_container(masked, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(list(overrides)))


def _replaced(group: str, overrides: Sequence[str], choice: str) -> bool:
    """Whether the command line's choice is another than the pages' own."""
    others = [o.input_line for o in _parsed(overrides) if o.key_or_group.split(".")[0] != group]
    pages = compose(PRIMARY, [str(other) for other in others], return_hydra_config=True)
    return bool(pages.hydra.runtime.choices[group] != choice)


def _own_page(group: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The chosen part as its own page has it, without a model or an experiment."""
    groups = GlobalHydra.instance().config_loader().list_groups("")
    # With the run's settings, which a page may refer to.
    lines = [
        str(o.input_line)
        for o in _parsed(overrides)
        if o.key_or_group in {group, "hydra.searchpath"}
        or ("." not in o.key_or_group and o.key_or_group not in groups)
    ]
    page = _plain(compose(PRIMARY, [*lines, "~model", "~experiment"]))[group]
    assert isinstance(page, dict)
    return page


def quoted(text: str) -> str:
    """As a value on Hydra's command line."""
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"

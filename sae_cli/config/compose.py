"""From YAML pages and overrides to plain configurations, by Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from sae_cli.config.chosen_pages import (
    choices_of_pages,
    compose_choices,
    forget,
    own_pages,
    plain,
)
from sae_cli.config.composed import Composed
from sae_cli.config.conf_folder import CONF, PAGES
from sae_cli.config.folder_names import unique_stamp
from sae_cli.config.hydra_pages import OF_USER, PageLoader, check_references, guard_pages
from sae_cli.config.hydra_settings import HydraWords, split_words
from sae_cli.config.search_dimensions import probes, read_dimensions
from sae_cli.config.search_words import SearchWords, offer_search, read_objectives, read_options
from sae_cli.config.settings import LOGGER
from sae_cli.config.spaced import spell_out
from sae_cli.config.sweep_words import check_sweep, refuse_sweep
from sae_cli.config.typed_text import quote_texts
from sae_cli.config.widths import GROUP, taken_back
from sae_cli.core.errors import ConfigError
from sae_cli.core.plugins.loaded import page_folders


@contextmanager
def hydra_ready(pages: Path | None = None) -> Iterator[Hydra]:
    """Let Hydra compose inside, from our pages.

    Args:
        pages: the user's own folder of pages, absolute.
    """
    folders = page_folders(pages)
    if folders:
        _forget()
    OmegaConf.register_new_resolver("unique_stamp", unique_stamp, use_cache=True, replace=True)
    version.setbase("1.3")
    guard_pages()
    offer_search()
    path = create_config_search_path(str(CONF))
    for folder in folders:
        path.prepend(OF_USER, f"file://{folder}", SearchPathQuery(provider="schema"))
    hydra = Hydra("sae-train", PageLoader(path))
    GlobalHydra.instance().initialize(hydra)
    try:
        yield hydra
    finally:
        GlobalHydra.instance().clear()
        _parse.cache_clear()
        # Our own pages stay as they are.
        if folders:
            _forget()


def _forget() -> None:
    forget()
    _groups.cache_clear()


def read_words(
    words: Sequence[str], multirun: bool
) -> tuple[list[list[str]], HydraWords, SearchWords | None]:
    """Give the overrides of each job of a sweep, in Hydra's order, or of the one run; the words
    for Hydra; and the search, if one is asked for, whose jobs are the runs that check it.

    Raises:
        ConfigError: a choice that is not a name, a sweep or a search over nothing, or a setting of
            Hydra's that is not for the command line.
    """
    loader = GlobalHydra.instance().config_loader()
    groups = _groups()
    texts = [quote_texts(spell_out(word, groups), groups) for word in words]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    own, of_hydra = split_words(parsed)
    own, objectives = read_objectives(own)
    options = read_options(of_hydra, objectives, multirun=multirun)
    for override in own:
        if override.is_delete() and override.key_or_group in PAGES:
            raise ConfigError(f"{override.input_line}: a run needs one; choose another instead")
        if override.key_or_group in groups and not override.is_delete():
            _check_choice(override)
        if override.is_sweep_override():
            check_sweep(override, groups, searched=options is not None)
            if not multirun:
                raise refuse_sweep(override, _default)
    if not multirun:
        return [[str(override.input_line) for override in own]], of_hydra, None
    if options is not None:
        dimensions = read_dimensions(own, groups, lambda word: _parse(quote_texts(word, groups)))
        jobs, tried = probes(own, dimensions)
        return jobs, of_hydra, SearchWords(options, objectives, dimensions, tried)
    jobs = [job for batch in BasicSweeper.split_arguments(own, None) for job in batch]
    if not jobs:
        raise ConfigError(f"{' '.join(words)} sweeps over nothing; give KEY=A,B,C")
    return jobs, of_hydra, None


def _default(key: str) -> Any:
    """Give the value that a setting has by itself, as it is written."""
    return OmegaConf.select(OmegaConf.create(compose_choices([])[0]), key, default=None)


def _check_choice(override: Override) -> None:
    """Hydra's message for a choice that is not a name is unreadable; raise ours first."""
    group, value = override.key_or_group, override.value()
    if group == LOGGER and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return
    if value is None or isinstance(value, (bool, int, float, dict, list)):
        raise ConfigError(
            f"{override.input_line}: choose a page by its name, {group}=NAME; its options are set "
            f"one by one, {group}.OPTION=VALUE"
        )


def compose_run(overrides: Sequence[str]) -> Composed:
    """Compose the run that these overrides ask for.

    A part that the command line chose in place of a page's own begins from the part's page and
    takes the command line's values: what the page says of that group was meant for the other part.

    Raises:
        ConfigError: an experiment with another model; a page without its package line; a page or
            an override that would do more than set options.
    """
    # A choice() or range() of a sweep has left its values without quotes.
    overrides = [quote_texts(word, _groups()) for word in overrides]
    parsed = [_parse(word) for word in overrides]
    for override in parsed:
        check_references({override.key_or_group: override.value()})
    config, choices = compose_choices(parsed)
    for page in PAGES:
        if isinstance(config.get(page), dict):
            raise ConfigError(
                f"{page}={choices[page]}: its page must begin with the line '# @package _global_'"
            )
    given = {override.key_or_group for override in parsed}
    run = {page: choices[page] for page in PAGES} | config
    if "model" in given and run["experiment"] is not None:
        raise ConfigError(
            f"experiment={run['experiment']} brings its own model; leave out model=, or the "
            "experiment"
        )
    for group, own in _find_replaced(parsed, run, choices).items():
        run[group] = own | {k: v for k, v in run[group].items() if f"{group}.{k}" in given}
    if isinstance(run.get(GROUP), dict):
        options = {k: v for k, v in run[GROUP].items() if f"{GROUP}.{k}" in given}
        run[GROUP] = run[GROUP] | taken_back(options, run[GROUP])
    if check_references(run):
        run = plain(OmegaConf.create(run), resolve=True)
    return Composed(run, choices, overrides)


def _find_replaced(
    parsed: Sequence[Override], run: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Give the groups whose part the pages did not choose, each with its own page, unresolved."""
    lines = {
        str(override.key_or_group): str(override.input_line)
        for override in parsed
        if override.key_or_group in choices
    }
    # A tracker's section is its own, so no page can have set the options of another in it.
    whole = (*PAGES, LOGGER)
    groups = [group for group in lines if group not in whole and isinstance(run.get(group), dict)]
    if not groups:
        return {}
    by_pages = choices_of_pages(tuple(line for key, line in lines.items() if key in PAGES))
    replaced = [group for group in groups if by_pages.get(group) != choices[group]]
    own = own_pages(tuple(lines[group] for group in replaced)) if replaced else {}
    return {group: own[group] for group in replaced}


# Most words are the same in all jobs of a sweep.
@cache
def _parse(word: str) -> Override:
    (parsed,) = OverridesParser.create().parse_overrides([word])
    return parsed


@cache
def _groups() -> list[str]:
    return list(GlobalHydra.instance().config_loader().list_groups(""))

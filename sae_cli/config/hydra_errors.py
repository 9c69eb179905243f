"""Errors of Hydra and OmegaConf in one line: what was given, what is allowed, what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from sae_cli.config.compose import compose_run
from sae_cli.config.conf_folder import CONF, PAGES
from sae_cli.config.launcher_errors import GROUP as LAUNCHER
from sae_cli.config.launcher_errors import not_installed, unknown_launcher_option, wrong_value
from sae_cli.config.loggers import unknown_logger, unknown_option
from sae_cli.config.omitted import without_page
from sae_cli.config.settings import LOGGER
from sae_cli.config.suggestions import choices_with, suggest
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.plugins.loaded import plugin_of
from sae_cli.core.registry import OF_PLUGINS

# A part of these groups may be the user's own, as one that is unknown without it.
TAKING_PLUGINS = ("architecture", "activation", "penalty", "corruption", "dataset", "optimizer")


@contextmanager
def explain_errors(overrides: Sequence[str] = (), *, multirun: bool = False) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise inside into a ConfigError; for use in ``hydra_ready``.

    Args:
        overrides: of the run that is composed.
        multirun: whether it is a job of a sweep.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(one_line(error, overrides, multirun)) from error
    except (ValueError, AssertionError) as error:
        # Hydra raises these for something that is not a page or an override.
        raise ConfigError(" ".join(str(error).split())) from error
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"the pages cannot be composed: {text}") from error


def one_line(error: BaseException, overrides: Sequence[str], multirun: bool = False) -> str:
    """Word for a user what was wrong with composing one job."""
    for cause in _chain(error):
        if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark is not None:
            mark = cause.problem_mark
            return (
                f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: not valid YAML, "
                f"{cause.problem}"
            )
    # Hydra may wrap an error of OmegaConf in an exception without a text.
    text = str(error) or str(error.__cause__)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as key=value; quote values with special "
            "characters (key='\"a b\"'), lists are [a,b], and there are no spaces around the ="
        )
    missing = re.match(r"(?:In '(?P<page>[^']*)': )?Could not find '(?P<given>[^']*)'", text)
    if isinstance(error, MissingConfigException) and missing:
        return _missing_choice(missing["given"], text)
    listed = re.match(r"In '[^']*': Could not load 'logger/(?P<name>[^']*)'", text)
    if listed and plugin_of(LOGGER, listed["name"]) is not None:
        return without_page(LOGGER, listed["name"])
    if listed:
        return unknown_logger(listed["name"])
    twice = re.match(r"Multiple values for (?P<group>\w+)", text)
    if twice:
        return f"{twice['group']} is chosen twice; write {twice['group']}=NAME once, without a +"
    merged = re.match(r"Error merging override (?P<word>.*)", text, re.DOTALL)
    wrong = wrong_value(merged["word"], _chain(error)) if merged else None
    if wrong is not None:
        return wrong
    override = re.match(r"Could not override '(?P<key>[^']*)'", text)
    if override and override["key"].startswith("hydra."):
        return unknown_launcher_option(override["key"], _chain(error))
    if override:
        return _unknown_key(override["key"], overrides, multirun)
    added = re.match(r"Could not append to config. An item is already at '(?P<key>[^']*)'", text)
    if added:
        return f"{added['key']} is set already; write {added['key']}=VALUE without the +"
    again = re.match(r"(?P<group>[\w/]+) appears more than once in the final defaults list", text)
    if again:
        return f"{again['group']} is chosen already; write {again['group']}=NAME without the +"
    deleted = re.match(r"Could not delete from config. '(?P<key>[^']*)' does not exist", text)
    if deleted:
        return f"~{deleted['key']}: there is no {deleted['key']} to leave out"
    return " ".join(text.split())


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    # Hydra raises some errors from each other in a circle.
    while error is not None and all(error is not seen for seen in chain):
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _missing_choice(given: str, text: str) -> str:
    group, _, choice = given.rpartition("/")
    if plugin_of(group, choice) is not None:
        return without_page(group, choice)
    root, _, folder = group.partition("/")
    file = f"{folder}/{choice}" if folder else choice
    if root in TAKING_PLUGINS and choice.endswith(".py"):
        return (
            f"{root}={file} is not a page; --plugin {shlex.quote(file)} loads a plug-in, and "
            f"{root}=NAME chooses a part of it by its name"
        )
    if root == "dataset" and (folder or "." in choice):
        path = shlex.quote(f"dataset.path={file}")
        return (
            f"dataset={file} is not a page; a file of numbers is dataset=array {path}, a folder of "
            f"pictures dataset=image_folder {path}"
        )
    options = [line.strip() for line in text.partition("Available options")[2].splitlines()[1:]]
    options = [option for option in options if option and " " not in option]
    missing = not_installed(choice, options) if group == LAUNCHER else None
    return missing or (
        f"{group}={choice} is unknown; choose one of {', '.join(options)}"
        + (nearest(choice, options) or (OF_PLUGINS if group in TAKING_PLUGINS else ""))
    )


def _unknown_key(key: str, overrides: Sequence[str], multirun: bool) -> str:
    """Word the error of a key that no page has, or that another choice of the group has."""
    group, _, option = key.partition(".")
    run, choices = _with_choices_alone(overrides)
    if group == LOGGER:
        return unknown_option(key, run[LOGGER])
    near = suggest(key, run, multirun=multirun)
    if option == "name" and group in PAGES:
        return f"{key} is not an option; choose a page by its name, {group}=NAME"
    if option and group in PAGES:
        of_pages = f": a {group} is a page that sets the options of other groups"
        return f"unknown key {key}{of_pages if near[:1] != ':' else ''}{near}"
    if option and group in run and (CONF / group).is_dir():
        choice, takes = choices[group], [name for name in run[group] if name != "name"]
        others = choices_with(CONF / group, option)
        if others:
            lack, having = f"has no option {option}", "has"
            if choice == "none":
                lack, having = "takes no options", f"has {option}"
            return (
                f"{key}: {group}={choice} {lack}; choose one that {having}: "
                f"{', '.join(f'{group}={other}' for other in others)}"
            )
        own = nearest(option, takes, f"{group}.")
        listed = f"{group}={choice} takes {', '.join(takes) or 'no options'}"
        return f"unknown key {key}: {listed}{own or near.replace(':', ';', 1)}"
    return f"unknown key {key}{near or '; `sae-train --help` lists the settings'}"


def _with_choices_alone(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the configuration, and the choices in it, that the chosen pages make."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    choosing = [text for text in overrides if text.lstrip("+").partition("=")[0] in groups]
    composed = compose_run(choosing)
    return composed.run, composed.choices

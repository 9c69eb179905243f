"""Errors of Hydra and OmegaConf in one line: what was given, what is allowed, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from hydra import compose
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sae_cli.config.chosen_pages import PRIMARY
from sae_cli.config.compose import CONF
from sae_cli.core.errors import ConfigError, nearest


@contextmanager
def explain_errors(overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise inside into a ConfigError; for use in ``hydra_ready``.

    Args:
        overrides: of the run that is composed.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(one_line(error, overrides)) from error
    except (ValueError, AssertionError) as error:
        # Hydra raises these for something that is not a page or an override.
        raise ConfigError(" ".join(str(error).split())) from error
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"the pages cannot be composed: {text}") from error


def one_line(error: BaseException, overrides: Sequence[str]) -> str:
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
    if text.startswith("Ambiguous value"):
        given = text.splitlines()[0].partition("'")[2].rstrip("'")
        return f"{given}: add -m to sweep over it, or write [a,b] for a list"
    missing = re.match(r"(?:In '(?P<page>[^']*)': )?Could not find '(?P<given>[^']*)'", text)
    if isinstance(error, MissingConfigException) and missing:
        return _missing_choice(missing["given"], text)
    twice = re.match(r"Multiple values for (?P<group>\w+)", text)
    if twice:
        return f"{twice['group']} is chosen twice; write {twice['group']}=NAME once, without a +"
    override = re.match(r"Could not override '(?P<key>[^']*)'", text)
    if override:
        return _unknown_key(override["key"], overrides)
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
    options = [line.strip() for line in text.partition("Available options")[2].splitlines()[1:]]
    options = [option for option in options if option and " " not in option]
    return f"{group}={choice} is unknown; choose one of {', '.join(options)}" + nearest(
        choice, options
    )


def _unknown_key(key: str, overrides: Sequence[str]) -> str:
    """Word the error of a key that no page has, or that another choice of the group has."""
    group, _, option = key.partition(".")
    if group == "hydra":
        return (
            f"unknown key {key}: the launcher has no such option; choose one that has with "
            "hydra/launcher=NAME, whose options `--cfg hydra -p hydra.launcher` shows"
        )
    if option and (CONF / group).is_dir():
        choice, takes = _chosen(group, overrides)
        others = _choices_with(group, option)
        if others:
            nothing = f" (there is no {group} to {option})" if choice == "none" else ""
            return (
                f"{key}: {group}={choice} has no option {option}{nothing}; choose one that has: "
                f"{', '.join(f'{group}={other}' for other in others)}"
            )
        near = nearest(option, takes, f"{group}.")
        return f"unknown key {key}: {group}={choice} takes {', '.join(takes)}{near}"
    known = _known_keys()
    same = sorted({name for name in known if name.rpartition(".")[2] == key})
    near = f"; did you mean {' or '.join(same)}?" if same else nearest(key, known)
    return f"unknown key {key}{near or '; `sae-train --help` lists the settings'}"


def _chosen(group: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Give the group's choice and the options it has."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    choosing = [text for text in overrides if text.lstrip("+").partition("=")[0] in groups]
    config = compose(PRIMARY, choosing, return_hydra_config=True)
    takes = [str(name) for name in config[group] if name != "name"]
    return str(config.hydra.runtime.choices[group]), takes


def _choices_with(group: str, option: str) -> list[str]:
    folder = CONF / group
    pages = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    return [page.stem for page in pages if option in _keys(page)]


def _known_keys() -> list[str]:
    groups = [folder for folder in sorted(CONF.iterdir()) if folder.is_dir()]
    keys = [key for key in _keys(CONF / f"{PRIMARY}.yaml") if key != "defaults"]
    for group in groups:
        keys.append(group.name)
        if group.name not in {"model", "experiment"}:
            for page in group.glob("*.yaml"):
                keys += [f"{group.name}.{key}" for key in _keys(page)]
    return sorted(set(keys))


def _keys(page: Any) -> list[str]:
    return [str(key) for key in OmegaConf.load(page)]

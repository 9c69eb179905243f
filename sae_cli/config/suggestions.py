"""What is suggested for a key that does not exist: something that this very run would take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sae_cli.config.conf_folder import CONF, PAGES
from sae_cli.core.errors import most_alike
from sae_cli.core.synonyms import LACKING, meanings, plain_name

# There are many keys, so one that is only a little alike is often meant by nobody.
ALIKE = 0.7
# Of choices that have an option, so many are named; the help lists the others.
MOST_NAMED = 3


def suggest(key: str, run: Mapping[str, Any], *, multirun: bool) -> str:
    """Word a suggestion for an unknown key, with what joins it to the message; or an empty text.

    Args:
        key: as it was given.
        run: the configuration without it; what it holds can be set.
        multirun: whether a sweep is asked for.
    """
    keys = _settable(run, multirun)
    name = plain_name(key)
    meant = [words for words in meanings(key) if _is_accepted(words, keys, run)]
    same = [one for one in keys if one.rpartition(".")[2] == name]
    if meant or same:
        return _did_you_mean(meant[:1] or same)
    if name in LACKING:
        return f": {LACKING[name]}"
    options = [words for words in meanings(key) if re.fullmatch(r"\w+\.\w+", words)]
    return _did_you_mean(_elsewhere(options or [f"{g}.{name}" for g in run]) or _alike(key, keys))


def _did_you_mean(found: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _settable(run: Mapping[str, Any], multirun: bool) -> list[str]:
    of_sweep = ["hydra.sweep.dir", "sweep.together"]
    keys = ["resume", *(of_sweep if multirun else ["hydra.run.dir"]), *run]
    for group, section in run.items():
        if isinstance(section, Mapping):
            keys += [f"{group}.{option}" for option in section if option != "name"]
    return keys


def _is_accepted(words: str, keys: Sequence[str], run: Mapping[str, Any]) -> bool:
    """Tell whether a run takes these words; those after the first are options of its choice."""
    key, equals, choice = words.split()[0].partition("=")
    if not equals or "." in key:
        return key in keys
    # An experiment brings its own model.
    free = key != "model" or run.get("experiment") is None
    return free and (CONF / key / f"{choice}.yaml").is_file()


def _alike(key: str, keys: Sequence[str]) -> list[str]:
    """Give the key whose last part is spelled most like that of the given one, if any is alike."""
    names = {one.rpartition(".")[2]: one for one in reversed(keys)}
    close = most_alike(plain_name(key), list(names), ALIKE)
    return [] if close is None else [names[close]]


def _elsewhere(options: Sequence[str]) -> list[str]:
    """Give those options that other choices of their groups have, each with these choices."""
    found = []
    for option in options:
        group, _, name = option.partition(".")
        pages = choices_with(CONF / group, name)
        # Every part has a name.
        if pages and group not in PAGES and name != "name":
            choices = [f"{group}={page}" for page in pages[:MOST_NAMED]]
            if len(pages) > MOST_NAMED:
                choices.append(f"another of {len(pages)}")
            found.append(f"{option}, with {' or '.join(choices)}")
    return found


def choices_with(group: Path, option: str) -> list[str]:
    """Name the pages in the folder of a group that have an option."""
    return [page.stem for page in sorted(group.glob("*.yaml")) if option in _options(page)]


@cache
def _options(page: Path) -> frozenset[str]:
    return frozenset(yaml.safe_load(page.read_text("utf-8")))

"""Configurations as the command makes them from overrides, in a fraction of the time."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from sae_cli.config.compose import compose_run, hydra_ready
from sae_cli.config.conf_folder import CONF, PAGES
from sae_cli.config.schema import GROUPS, RunConfig, check
from sae_cli.config.widths import GROUP, taken_back


def configured(*overrides: str) -> RunConfig:
    """Overrides to a checked configuration, as the command makes it.

    Hydra composes each model and experiment once, which takes longer than a small training; parts
    and values are put in. (``tests/config/test_configured.py`` compares.)
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    given = {str(one.key_or_group): one.value() for one in parsed}
    lines = [str(one.input_line) for one in parsed if one.key_or_group in PAGES]
    config = copy.deepcopy(_composed(tuple(lines)))
    for group in given.keys() & GROUPS.keys():
        if config[group]["name"] != given[group]:
            config[group] = yaml.safe_load((CONF / group / f"{given[group]}.yaml").read_text())
    for key in given.keys() - GROUPS.keys() - set(PAGES):
        group, _, option = key.rpartition(".")
        section = config[group] if group else config
        section[option] = given[key]
    own = {
        key.partition(".")[2]: value for key, value in given.items() if key.startswith(f"{GROUP}.")
    }
    config[GROUP] |= taken_back(own, config[GROUP])
    return check(config)


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    with hydra_ready():
        return compose_run(overrides)[0]

"""Small trainings of a model page, with parts of other pages put in."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import RunConfig, check
from tests.configured import configured
from tests.conftest import SMALL

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def page_of(path: Path | str) -> Any:
    """What a page of ``conf/`` holds, for the caller to keep."""
    return deepcopy(_read(path))


@cache
def _read(path: Path | str) -> Any:
    return yaml.safe_load((CONF / path).read_text())


@cache
def part_of(model: str, group: str) -> str | None:
    """The part that a model page chooses, None where it leaves that to the defaults."""
    lines = [line for line in page_of(f"model/{model}.yaml")["defaults"] if isinstance(line, dict)]
    return next((line[key] for line in lines for key in line if key == f"override /{group}"), None)


def one_of_each_architecture() -> list[str]:
    """Model pages: the first of each architecture, and the stack."""
    first = {part_of(model, "architecture"): model for model in reversed(MODELS)}
    return sorted({*first.values(), "stacked"})


@cache
def of_model(name: str) -> RunConfig:
    """A short training of a model page: one epoch of each stage."""
    config = configured(f"model={name}", "pictures=false", *SMALL).as_dict()
    if config["head"]["name"] == "classifier":
        config["head"] |= {"epochs": 1, "fine_tune_epochs": 1}
    if config["schedule"]["name"] == "greedy":
        config["schedule"] |= {"layer_epochs": [1]}
    return check(config)


def with_parts(config: RunConfig, **names: str) -> RunConfig:
    """With parts as their own pages have them."""
    sections = {group: page_of(f"{group}/{name}.yaml") for group, name in names.items()}
    return check(config.as_dict() | sections)

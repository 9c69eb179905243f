"""Small trainings that have a certain part in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sae_cli.assembly.parts import build_parts
from sae_cli.config.asked import read
from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import RunConfig, check
from sae_cli.config.settings import LOGGER
from sae_cli.core.errors import ConfigError, DivergedError
from sae_cli.core.plugins.loaded import page_folders
from sae_cli.run_folder.layout import MODEL
from sae_cli.runs.train import train

SHORT = ("epochs=1", "progress=false", "quiet=true", "pictures=false", "report=false")
DIGITS = ("dataset=digits", "dataset.test=1500")
# The stages of these have epochs of their own.
STAGED = ("stacked", "drsae")


class Trained(NamedTuple):
    """What a training comes to: the bytes of its model, and its metrics."""

    model: bytes
    summary: dict[str, Any]


def models() -> list[str]:
    """Name the models that a part is tried in, in their order."""
    names = sorted(page.stem for page in (CONF / "model").glob("*.yaml"))
    return ["sparse_kl", *(one for one in names if one not in (*STAGED, "sparse_kl"))]


def page_names(group: str, name: str, pages: Path | None) -> list[str]:
    """Name the user's own pages that choose a part."""
    files = [file for folder in page_folders(pages) for file in (folder / group).glob("*.yaml")]
    return sorted(file.stem for file in files if _chooses(file, group, name))


def _chooses(file: Path, group: str, name: str) -> bool:
    content = yaml.safe_load(file.read_text("utf-8"))
    if not isinstance(content, dict):
        return False
    return name in content if group == LOGGER else content.get("name") == name


def compose(words: Sequence[str], pages: Path | None) -> RunConfig:
    """Compose and check a run.

    Raises:
        ConfigError: something is wrong with it, or its parts do not go together.
    """
    config = check(read(words, multirun=False, pages=pages).runs[0].run)
    build_parts(config)
    return config


@cache
def first_base(group: str, page: str, pages: Path | None) -> RunConfig:
    """Give a small training that has a part.

    Raises:
        ConfigError: no model goes together with it; the error of the first one.
    """
    return next(bases(group, page, pages))


def bases(group: str, page: str, pages: Path | None) -> Iterator[RunConfig]:
    """Yield small trainings that have a part, each of another model.

    Raises:
        ConfigError: there is none.
    """
    errors = []
    found = False
    data = () if group == "dataset" else DIGITS
    for model in models():
        try:
            config = compose([f"model={model}", f"{group}={page}", *data, *SHORT], pages)
        except ConfigError as error:
            errors.append(error)
            continue
        found = True
        yield config
    if not found:
        raise errors[0]


def outcome(config: RunConfig, folder: Path) -> Trained:
    """Train in a new folder.

    Raises:
        ConfigError: the data or the parts do not fit.
        DivergedError: the loss is no longer finite.
    """
    summary = train(config, folder, [])
    return Trained((folder / MODEL).read_bytes(), summary | {"seconds": 0})


def outcome_or_none(plain: dict[str, Any], folder: Path) -> Trained | None:
    """Train a plain configuration; None where it is refused."""
    try:
        return outcome(check(plain), folder)
    except (ConfigError, DivergedError):
        return None

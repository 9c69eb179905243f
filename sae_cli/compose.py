"""From YAML pages and overrides to plain configurations, by Hydra."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from sae_cli.registry import ConfigError

HERE = Path(__file__).parent
# Inside an installed package, or beside it in a checkout.
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"
PRIMARY = "train"
PAGES = ("model", "experiment")
LONGEST_NAME = 80


def _unique_stamp() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def job_folder(number: int, overrides: Sequence[str]) -> str:
    """A safe folder name for a sweep's job: its number and what it overrides."""
    text = ",".join(overrides)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text)
    if len(safe) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        safe = f"{safe[:LONGEST_NAME]}_{digest}"
    return f"{number}_{safe}" if safe else str(number)


def register_resolvers() -> None:
    """The two functions that ``conf/train.yaml`` names folders with."""
    OmegaConf.register_new_resolver("unique_stamp", _unique_stamp, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


@contextmanager
def hydra_ready() -> Iterator[None]:
    """Hydra's compose functions work inside."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="sae-train"):
        yield


def jobs(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """The overrides of each job of a sweep, in order; of the one job without a sweep."""
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    for override in parsed:
        choices = loader.list_groups("")
        if override.key_or_group in choices and not override.is_delete():
            _check_choice(override)
    if not multirun:
        return [list(overrides)]
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _check_choice(override: Override) -> None:
    """Hydra's own complaint about a choice that is not a name is no sentence."""
    value = override.value()
    if value is None or isinstance(value, (bool, int, float, dict, list)):
        group = override.key_or_group
        raise ConfigError(
            f"{override.input_line}: choose a page by its name, {group}=NAME; its options are set "
            f"one by one, {group}.OPTION=VALUE"
        )


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that these overrides make, as plain values."""
    config = compose(PRIMARY, list(overrides), return_hydra_config=True)
    own = [str(key) for key in config if key != "hydra"]
    return settled(OmegaConf.masked_copy(config, own), config.hydra)


def settled(config: DictConfig, hydra: Any) -> dict[str, Any]:
    """The run's part of what Hydra composed, as plain values.

    A part that the command line chose stands as its own page has it (with the command line's
    values): what a model or experiment page says of that group was meant for another part.

    Args:
        config: without Hydra's own node.
        hydra: that node.

    Raises:
        ConfigError: an experiment page was given another model.
    """
    given = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
    keys = {override.key_or_group for override in given}
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    run: dict[str, Any] = {str(key): value for key, value in plain.items()}
    if "model" in keys and run["experiment"] is not None:
        raise ConfigError(
            f"experiment={run['experiment']} brings its own model; leave out model=, or the "
            "experiment"
        )
    for group in keys - set(PAGES):
        if isinstance(run.get(group), dict):
            page = _page(hydra.runtime.config_sources, group, hydra.runtime.choices[group])
            from_line = {k: v for k, v in run[group].items() if f"{group}.{k}" in keys}
            run[group] = page | from_line
    return run


def _page(sources: ListConfig, group: str, choice: str) -> dict[str, Any]:
    """A part's own page, from the folder that Hydra found it in."""
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    for folder in folders:
        file = folder / group / f"{choice}.yaml"
        if file.is_file():
            page = OmegaConf.to_container(OmegaConf.load(file))
            assert isinstance(page, dict)
            return {str(key): value for key, value in page.items()}
    raise ConfigError(f"{group}={choice}: no such page in {', '.join(map(str, folders))}")

"""The typed configuration of one run: settings and, for each group, the chosen part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae_cli.config.loggers import check_loggers, choose
from sae_cli.config.settings import AUTO, LOGGER, Settings
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.registry import Registry, validate
from sae_cli.datasets import DATASETS
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.inference import INFERENCES
from sae_cli.model.penalties import PENALTIES
from sae_cli.model.reconstruction import RECONSTRUCTIONS
from sae_cli.training.corruptions import CORRUPTIONS
from sae_cli.training.devices import DEVICES
from sae_cli.training.heads import HEADS
from sae_cli.training.lr_schedules import LR_SCHEDULES
from sae_cli.training.metrics import metric_names
from sae_cli.training.optimizers import OPTIMIZERS
from sae_cli.training.revivals import REVIVALS
from sae_cli.training.schedules import SCHEDULES

# In the order of ``settings.GROUP_NAMES``.
GROUPS: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        DATASETS,
        ARCHITECTURES,
        ACTIVATIONS,
        PENALTIES,
        CORRUPTIONS,
        RECONSTRUCTIONS,
        INFERENCES,
        HEADS,
        REVIVALS,
        SCHEDULES,
        OPTIMIZERS,
        LR_SCHEDULES,
        DEVICES,
    )
}


# Only a run with a head has these metrics.
OF_HEADS = ("accuracy", "head", "head_raw")


@dataclass(frozen=True)
class RunConfig:
    """A checked configuration.

    Attributes:
        settings: of the run.
        parts: group -> the chosen part's ``name`` and options.
    """

    settings: Settings
    parts: dict[str, dict[str, Any]]

    @property
    def target_activity(self) -> float | None:
        """The mean activity that the penalty draws each latent to, where it has one."""
        return self.parts["penalty"].get("target")

    @property
    def unit_norm(self) -> bool:
        """Whether each example is scaled to a norm of 1, by the setting or by its data set."""
        return self.settings.unit_norm or self.parts["dataset"].get("scale") == "unit_norm"

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, complete, as ``config.yaml`` holds and ``check`` takes them."""
        return self.settings.model_dump() | self.parts

    def changed(self, changes: Mapping[str, Any]) -> RunConfig:
        """Give a checked configuration with other values for these dotted keys.

        Raises:
            ConfigError: there is no such key, or the value is wrong.
        """
        plain = self.as_dict()
        # What is chosen comes before its options.
        for key in sorted(changes, key=lambda key: key.count(".")):
            *groups, option = key.split(".")
            section = plain
            for group in groups:
                if not isinstance(section.get(group), Mapping):
                    raise ConfigError(f"unknown key {key}: the run has no {group}")
                section[group] = {**section[group]}
                section = section[group]
            section[option] = choose(changes[key]) if key == LOGGER else changes[key]
        return check(plain)


def check(config: Mapping[str, Any]) -> RunConfig:
    """Check every key, type and range of a composed configuration.

    Raises:
        ConfigError: one line on the first fault.
    """
    known = [*Settings.model_fields, *GROUPS]
    for key in config:
        if key not in known:
            near = nearest(str(key), known) or "; `sae-train --help` lists the settings"
            raise ConfigError(f"unknown key {key}{near}")
    for group in GROUPS:
        if group not in config:
            raise ConfigError(f"{group} is missing: give {group}=NAME")
    given = {key: value for key, value in config.items() if key not in GROUPS}
    settings = Settings(**validate(Settings, given, "", "the settings are"))
    settings = settings.model_copy(update={LOGGER: check_loggers(settings.logger)})
    heads = GROUPS["head"].check(config["head"])["name"] != "none"
    if settings.sort_by != AUTO:
        offered = metric_names() if heads else _without_heads()
        check_metric("sort_by", settings.sort_by, [*offered, AUTO])
    for number, entry in enumerate(settings.published):
        check_metric(f"published.{number}.metric", entry.metric, metric_names())
    parts = {group: registry.check(config[group]) for group, registry in GROUPS.items()}
    if parts["head"]["name"] == "none" and settings.sort_by.rpartition("/")[2] in OF_HEADS:
        raise ConfigError(
            f"sort_by={settings.sort_by} needs a classifier, and head=none is not one; choose "
            "head=classifier, or another metric such as val/fvu"
        )
    return RunConfig(settings, parts)


def check_metric(key: str, name: str, offered: list[str]) -> None:
    """Raise ConfigError unless there is a metric of this name; ``offered`` words what there is."""
    if name not in metric_names():
        raise ConfigError(
            f"{key}={name} is not a metric; choose one of {', '.join(offered)}"
            + nearest(name, offered)
        )


def _without_heads() -> list[str]:
    return [name for name in metric_names() if name.rpartition("/")[2] not in OF_HEADS]

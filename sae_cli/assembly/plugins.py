"""The plug-ins that a run has parts of, as its folder records them."""

from __future__ import annotations

from typing import Any

from sae_cli.config.schema import RunConfig
from sae_cli.config.settings import LOGGER
from sae_cli.core.plugins.loaded import LOADED, Plugin


def record_plugins(*configs: RunConfig) -> dict[str, dict[str, Any]]:
    """Give name -> version, digest, file and parts, as plain values.

    Only plug-ins that these runs have parts of are recorded: what draws or exports changes nothing
    of a run.
    """
    chosen = {part for config in configs for part in _chosen(config)}
    return {
        plugin.name: {
            "version": plugin.version,
            "sha256": plugin.sha256,
            "file": plugin.file,
            "parts": [f"{kind}={name}" for kind, name in plugin.parts if (kind, name) in chosen],
        }
        for plugin in _having(chosen)
    }


def used_plugins(config: RunConfig) -> list[Plugin]:
    """Give the plug-ins that have a part in a run."""
    return _having(_chosen(config))


def _having(chosen: set[tuple[str, str]]) -> list[Plugin]:
    return [one for one in LOADED.values() if chosen.intersection(one.parts)]


def _chosen(config: RunConfig) -> set[tuple[str, str]]:
    parts = {(group, str(section["name"])) for group, section in config.parts.items()}
    return parts | {(LOGGER, name) for name in config.settings.logger}

"""The plug-ins that a saved run needs: recorded in its folder, and given by whoever reads it.

A record may come from a stranger, so it is only read. No code is looked for because of it, and the
copy of a plug-in that a run keeps is never run by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError
from sae_cli.core.plugins.loaded import LOADED, SHOWN_DIGITS, VARIABLE, Plugin
from sae_cli.core.text import short
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import ENVIRONMENT, plugin_copy

# The key of the record, in environment.json and in sweep.yaml.
PLUGINS = "plugins"
NAME, FILE = re.compile(r"[A-Za-z]\w*", re.ASCII), re.compile(r"[\w.]+/?", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}")


class Needed(NamedTuple):
    """A plug-in as a folder records it.

    Attributes:
        file: how it was named.
        parts: of the run, such as ``penalty=huber``.
    """

    name: str
    version: str | None
    sha256: str
    file: str
    parts: list[str]

    @property
    def title(self) -> str:
        """The name, with what tells versions apart."""
        version = "" if self.version is None else f"{self.version}, "
        return f"{self.name} ({version}SHA-256 {self.sha256[:SHOWN_DIGITS]})"


def needed_by(record: Mapping[str, object]) -> list[Needed]:
    """Read what a record says of plug-ins; whatever is not such an entry is left out."""
    plugins = record.get(PLUGINS)
    found = []
    for name, about in plugins.items() if isinstance(plugins, Mapping) else ():
        if not isinstance(about, Mapping):
            continue
        version, sha256, file = (str(about.get(key)) for key in ("version", "sha256", "file"))
        parts = about.get("parts")
        if NAME.fullmatch(str(name)) is None or DIGEST.fullmatch(sha256) is None:
            continue
        found.append(
            Needed(
                str(name),
                None if about.get("version") is None else version,
                sha256,
                # It is shown as a word to type.
                file if FILE.fullmatch(file) else str(name),
                [*map(str, parts)] if isinstance(parts, list) else [],
            )
        )
    return found


def needed_by_run(folder: Path) -> list[Needed]:
    """Read which plug-ins a run needs; none where its record is missing or damaged."""
    try:
        return needed_by(read_json(folder / ENVIRONMENT))
    except ConfigError:
        return []


def require(folder: Path, needed: Sequence[Needed]) -> None:
    """Refuse to go on without a plug-in.

    Args:
        folder: of the run or the sweep.

    Raises:
        ConfigError: one is not loaded; with the way to load it.
    """
    for one in needed:
        if one.name in LOADED:
            continue
        copy = folder / plugin_copy(one.name, one.sha256)
        kept = f"; what ran is kept as {short(copy)}, to be read first" if copy.is_file() else ""
        raise ConfigError(
            f"{short(folder)} has {', '.join(one.parts) or 'parts'} of the plug-in {one.title}, "
            f"which is not loaded; give --plugin {one.file}, {VARIABLE}={one.file}, or in Python "
            f"plugins=['{one.file}']{kept}"
        )


def changed(needed: Sequence[Needed]) -> list[str]:
    """Say which of the plug-ins that are loaded have other code than the run had."""
    found = []
    for one in needed:
        own = LOADED.get(one.name)
        if own is not None and own.sha256 != one.sha256:
            found.append(
                f"the plug-in {own.name} is not the one of the run: {one.title} then, "
                f"{_title(own)} now"
            )
    return found


def refuse_changed(needed: Sequence[Needed]) -> None:
    """Refuse to go on with other code than the run had, unless the command line allows it.

    Raises:
        ConfigError: a plug-in has changed.
    """
    for line in changed([one for one in needed if not _may_differ(one.name)]):
        raise ConfigError(
            f"{line}; put it back, or give --changed-plugin to go on with what is there"
        )


def _may_differ(name: str) -> bool:
    return name in LOADED and LOADED[name].any_version


def _title(plugin: Plugin) -> str:
    return Needed(plugin.name, plugin.version, plugin.sha256, plugin.file, []).title

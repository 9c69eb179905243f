"""Plug-ins are found, run as modules, checked, and kept by their names."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from sae_cli.core.errors import ConfigError
from sae_cli.core.plugins.checks import check_part
from sae_cli.core.plugins.loaded import LOADED, SHOWN_DIGITS, VARIABLE, Plugin, plugin_of
from sae_cli.core.plugins.sources import (
    Source,
    find_source,
    forget,
    import_source,
    imported,
    is_within,
)
from sae_cli.core.registry import ENTRIES, Entry, TakenError

# The pages of a package lie in this folder of it.
PAGES = "conf"
# A plug-in imports this.
FOR_AUTHORS = "sae_cli.plugins"


def load_given(given: Iterable[str] = (), *, any_version: bool = False) -> None:
    """Load the plug-ins that ``SAE_PLUGINS`` names, separated as in ``PATH``, and these.

    Args:
        given: paths of files and folders, and names of entry points.
        any_version: whether each may stand for another version of itself.

    Raises:
        ConfigError: one line on the first fault.
    """
    named = [word for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    load([*named, *given], any_version=any_version)


def load(given: Iterable[str], *, any_version: bool = False) -> None:
    """Load these plug-ins alone, as ``load_given`` does."""
    for word in given:
        plugin = _load(find_source(word))
        if any_version:
            LOADED[plugin.name] = replace(plugin, any_version=True)


def load_again(plugins: Sequence[Plugin]) -> None:
    """Load the plug-ins of another process in this one, which works for it.

    Raises:
        ConfigError: one cannot be loaded, or its code has changed since.
    """
    for plugin in plugins:
        if (kept := LOADED.get(plugin.name)) is not None and kept.sha256 == plugin.sha256:
            continue
        own = _load(find_source(plugin.given))
        if own.sha256 != plugin.sha256:
            raise ConfigError(
                f"the plug-in {plugin.name} has changed since the sweep began (SHA-256 "
                f"{plugin.sha256[:SHOWN_DIGITS]} then, {own.sha256[:SHOWN_DIGITS]} now); put it "
                "back, and resume"
            )
        LOADED[plugin.name] = replace(own, any_version=plugin.any_version)


def entry_of(kind: str, name: str) -> Entry | None:
    """Give a part that a plug-in has registered; None for a part of ours, and where there is
    none."""
    if plugin_of(kind, name) is None:
        return None
    return next(one for one in ENTRIES if (one.kind, one.name) == (kind, name))


def _load(source: Source) -> Plugin:
    sha256 = source.sha256
    if (before := LOADED.get(source.name)) is not None:
        if before.sha256 == sha256:
            return before
        what = "has changed since it was loaded here; begin a new process to load it"
        if before.given != source.given:
            what = f"has the name of {before.given}, which is loaded; rename one of the two"
        raise ConfigError(f"plug-in {source.given} {what}")
    # Ours are registered first, so that what follows is the plug-in's.
    importlib.import_module(FOR_AUTHORS)
    was_imported, before_it = imported(source) is not None, {*sys.modules}
    begin = len(ENTRIES)
    try:
        module = _import(source)
        own = _entries_of(module) if was_imported else ENTRIES[begin:]
        _check(source, own)
    except BaseException:
        for entry in ENTRIES[begin:]:
            entry.withdraw()
        del ENTRIES[begin:]
        forget(source, before_it)
        raise
    pages = None if source.folder is None else source.folder / PAGES
    version = getattr(module, "__version__", source.version)
    plugin = Plugin(
        source.name,
        source.given,
        None if version is None else str(version),
        sha256,
        tuple((entry.kind, entry.name) for entry in own),
        pages if pages is not None and pages.is_dir() else None,
        source.content,
    )
    LOADED[plugin.name] = plugin
    return plugin


def _import(source: Source) -> ModuleType:
    """Import the code of a plug-in; whatever it raises is one line on where it did."""
    try:
        return import_source(source)
    except SyntaxError as error:
        raise ConfigError(
            f"plug-in {source.given} is not Python: {error.msg} (line {error.lineno})"
        ) from error
    except ConfigError:
        raise
    except TakenError as error:
        raise ConfigError(f"plug-in {source.given}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"plug-in {source.given} cannot be imported: {type(error).__name__}: {error}"
            f"{_place(source, error)}"
        ) from error


def _place(source: Source, error: BaseException) -> str:
    """Say in which line of the plug-in an error was raised."""
    root = str(source.folder or source.given)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if _lies_in(one, root)]
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""


def _lies_in(frame: traceback.FrameSummary, root: str) -> bool:
    return frame.filename == root or frame.filename.startswith(f"{root}{os.sep}")


def _entries_of(module: ModuleType) -> list[Entry]:
    """Find what a module has registered that was imported in another way."""
    return [one for one in ENTRIES if is_within(one.made_by.__module__, module.__name__)]


def _check(source: Source, own: Sequence[Entry]) -> None:
    if not own:
        raise ConfigError(
            f"plug-in {source.given} registers nothing; write @PENALTIES.register('NAME') or the "
            "like before a class or function (docs/plugins.md)"
        )
    for entry in own:
        try:
            check_part(entry)
        except ConfigError as error:
            raise ConfigError(f"plug-in {source.given}: {error}") from error

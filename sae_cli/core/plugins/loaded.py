"""The plug-ins of this process, known without importing what loads them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SAE_PLUGINS"
# Digests are told apart by so many digits.
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is loaded.

    Attributes:
        name: of the file, without its ending, or of the package.
        given: finds it again from any folder: an absolute path, or the name of an entry point.
        version: as it says in ``__version__``, or that of its package; or None.
        sha256: the digest of its code.
        parts: kind and name of each part that it registers.
        pages: its own folder of pages, or None.
        content: of a single file; None of a package.
        any_version: whether it may stand for another version of itself.
    """

    name: str
    given: str
    version: str | None
    sha256: str
    parts: tuple[tuple[str, str], ...]
    pages: Path | None
    content: bytes | None
    any_version: bool = False

    @property
    def file(self) -> str:
        """How it is named to load it, without the folder that it lies in here."""
        is_folder = self.content is None and os.sep in self.given
        return f"{Path(self.given).name}{os.sep if is_folder else ''}"


# By their names, in the order in which they were loaded.
LOADED: dict[str, Plugin] = {}


def plugin_of(kind: str, name: str) -> Plugin | None:
    """Give the plug-in that a part comes from; None for a part of ours."""
    return next((one for one in LOADED.values() if (kind, name) in one.parts), None)


def names_of_plugins(kind: str) -> list[str]:
    """Name the parts of a kind that plug-ins have registered."""
    return [name for one in LOADED.values() for of, name in one.parts if of == kind]


def page_folders(own: Path | None) -> list[Path]:
    """Give the folders of pages that are not ours, the first of which counts.

    Args:
        own: that of the command line, if any.
    """
    of_plugins = [one.pages for one in LOADED.values() if one.pages is not None]
    return [*([] if own is None else [own]), *of_plugins]

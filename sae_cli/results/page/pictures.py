"""The pictures of runs on a page: the first ones inside of it, as many as a page should carry."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sae_cli.run_folder.files import read_file

PNG = b"\x89PNG\r\n\x1a\n"
# These come first on a page, and into the page where not all do.
FIRST = ("overview", "reconstructions", "atoms", "filters")
# The pictures inside of a page take at most this many bytes as files, a third more as text.
MOST_BYTES = 8_000_000


@dataclass(frozen=True)
class ShownPicture:
    """A picture of a run.

    Attributes:
        name: of its file, without the ending.
        source: its bytes as a ``data:`` address, or where it lies, relative to the page.
        embedded: whether it is the former.
    """

    name: str
    source: str
    embedded: bool

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")


def find_pictures(folder: Path) -> list[Path]:
    """Find the pictures of a run, in the order of a page; those that say most come first."""
    found = {path.stem: path for path in sorted((folder / "pictures").glob("*.png"))}
    first = [found.pop(name) for name in FIRST if name in found]
    return [*first, *found.values()]


def show_pictures(folders: Sequence[Path], target: Path) -> list[list[ShownPicture]]:
    """Give the pictures of each run, those of its first kinds inside of the page before others.

    Args:
        folders: of the runs, the most important first.
        target: the folder of the page.
    """
    files = [find_pictures(folder) for folder in folders]
    embedded = _chosen(files)
    return [[_show(file, target, embedded=file in embedded) for file in row] for row in files]


def _chosen(files: Sequence[Sequence[Path]]) -> set[Path]:
    """Choose the files that a page carries: a kind at a time, of every run."""
    found: set[Path] = set()
    left = MOST_BYTES
    for file in _by_kind(files):
        left -= _size(file)
        if left < 0:
            break
        found.add(file)
    return found


def _by_kind(files: Sequence[Sequence[Path]]) -> Iterator[Path]:
    for rank in range(max(map(len, files), default=0)):
        for row in files:
            yield from row[rank : rank + 1]


def _size(file: Path) -> int:
    try:
        return file.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _show(file: Path, target: Path, *, embedded: bool) -> ShownPicture:
    if embedded:
        try:
            content = read_file(file, MOST_BYTES)
        except (OSError, ValueError):
            content = b""
        if content.startswith(PNG):
            text = base64.b64encode(content).decode()
            return ShownPicture(file.stem, f"data:image/png;base64,{text}", True)
    return ShownPicture(file.stem, address(file, target), False)


def address(path: Path, target: Path) -> str:
    """Give where a file lies as an address relative to a page in the folder ``target``."""
    relative = os.path.relpath(path.resolve(), target.resolve())
    # The dot keeps a name with a colon from being taken for a scheme.
    return f"./{quote(Path(relative).as_posix(), safe='/', errors='surrogateescape')}"

"""The picture files in a folder: what counts as one, what is left out, and which links are refused.

Systems and programs leave files and folders of their own among pictures, and links can reach a
picture twice. Whatever is left out is counted, so that a run can say so.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sae_cli.core.errors import ConfigError

# This is torchvision's list, and other names of the same formats, and GIF.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    *(".gif", ".jfif", ".jpe", ".pbm", ".pnm"),
)

# Folders and files of systems whose names do not begin with a dot, in small letters.
SYSTEM = frozenset(
    {
        *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
        *("lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    }
)

# More endings of files that are left out would make a long line.
MAX_NAMED = 4


@dataclass
class LeftOut:
    """Counts of what is in a folder and is not read.

    Attributes:
        hidden: files and folders that are hidden or a system's own.
        again: further names of pictures that are counted already.
        outside: pictures that lie in no folder of a class or split.
        endings: files that are not pictures, by the endings of their names.
    """

    hidden: int = 0
    again: int = 0
    outside: int = 0
    endings: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Word the counts; nothing if nothing is left out."""
        n_others = self.endings.total()
        named = [ending for ending, _ in self.endings.most_common(MAX_NAMED)]
        more = ", ..." if len(self.endings) > MAX_NAMED else ""
        counts = (
            (self.outside, "picture{s} outside of these folders"),
            (self.again, "further name{s} of the same pictures"),
            (self.hidden, "hidden file{s} or folder{s}"),
            (n_others, f"other file{{s}} ({', '.join(named)}{more})"),
        )
        said = [f"{n} {text.format(s='' if n == 1 else 's')}" for n, text in counts if n]
        return f"left out {', '.join(said)}" if said else ""


@dataclass(frozen=True)
class PictureFiles:
    """The pictures in a folder.

    Attributes:
        paths: each picture once, in alphabetical order, the same on every machine.
        n_elsewhere: how many of them are links to files outside of the folder.
    """

    paths: list[Path]
    n_elsewhere: int
    left_out: LeftOut

    def describe(self) -> list[str]:
        """Word what a user may not expect, a text for each."""
        n = self.n_elsewhere
        links = f"{n} of them {'is a link' if n == 1 else 'are links'} to files elsewhere"
        return [text for text in (links if n else "", self.left_out.describe()) if text]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to an editor, a program or the system."""
    return name.startswith(".") or name.lower() in SYSTEM


def folders_in(folder: Path) -> list[str]:
    """Name the folders in a folder that are not hidden, in alphabetical order.

    Raises:
        ConfigError: the folder cannot be read.
    """
    with _reading(folder):
        return sorted(e.name for e in folder.iterdir() if e.is_dir() and not is_hidden(e.name))


def list_pictures(folder: Path) -> PictureFiles:
    """List the pictures in a folder and its sub-folders, by the endings of their names.

    A link to a file is followed; a link to a folder only where that lies in ``folder``. A picture
    of several names (links, hard links) is listed under the first, and never under a link if it
    has another name.

    Raises:
        ConfigError: a link leads to a folder above or outside, or nowhere; a folder cannot be
            read; something of a picture's name is neither a file nor a folder.
    """
    with _reading(folder):
        walk = _Walk(folder)
        paths = _each_once([*sorted(walk.files), *sorted(walk.linked)], walk.left_out)
        linked = set(walk.linked).intersection(paths)
        n_elsewhere = sum(not path.resolve().is_relative_to(walk.root) for path in linked)
    return PictureFiles(sorted(paths), n_elsewhere, walk.left_out)


def _each_once(paths: list[Path], left_out: LeftOut) -> list[Path]:
    """Keep the first name of each file, and count the others."""
    found: set[tuple[int, int]] = set()
    kept = []
    for path in paths:
        stat = path.stat()
        key = (stat.st_dev, stat.st_ino)
        # Some file systems give no numbers to files.
        if stat.st_ino and key in found:
            left_out.again += 1
        else:
            found.add(key)
            kept.append(path)
    return kept


class _Walk:
    """A walk through a folder; a sub-folder is entered once, by its own name if it has one.

    Attributes:
        root: the folder without links.
        files: pictures that no link led to.
        linked: pictures that a link led to.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder.resolve()
        self.files: list[Path] = []
        self.linked: list[Path] = []
        self.left_out = LeftOut()
        self._entered: set[Path] = set()
        self._links: list[Path] = []
        self._enter(folder, self.files)
        # The list grows while a linked folder is entered that has links itself.
        for link in self._links:
            if link.resolve() not in self._entered:
                self._enter(link, self.linked)
            else:
                self.left_out.again += 1

    def _enter(self, folder: Path, files: list[Path]) -> None:
        waiting = [folder]
        while waiting:
            entered = waiting.pop()
            self._entered.add(entered.resolve())
            # The order of a folder's entries differs between machines.
            for path in sorted(entered.iterdir()):
                if is_hidden(path.name):
                    self.left_out.hidden += 1
                elif path.is_dir():
                    if path.is_symlink():
                        self._links.append(self._checked(path))
                    else:
                        waiting.append(path)
                elif not path.name.lower().endswith(EXTENSIONS):
                    self.left_out.endings[_ending(path.name)] += 1
                else:
                    _check_file(path)
                    (self.linked if path.is_symlink() else files).append(path)

    def _checked(self, link: Path) -> Path:
        """Refuse a link to a folder that holds it, or that lies outside."""
        target = link.resolve()
        if link.parent.resolve().is_relative_to(target):
            where = "up to a folder that it lies in itself"
        elif not target.is_relative_to(self.root):
            where = f"out of {self.root}"
        else:
            return link
        raise ConfigError(
            f"{link} is a link that leads {where} ({target}); remove it, or put the pictures "
            "themselves there"
        )


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be read: {error.strerror}; mend or remove it"
        ) from None


def _check_file(path: Path) -> None:
    """Refuse what cannot be read as a file; opening a pipe would wait forever."""
    if not path.is_file():
        broken = path.is_symlink() and not path.exists()
        what = "is a link that leads nowhere" if broken else "is neither a file nor a folder"
        raise ConfigError(f"{path} {what}; mend or remove it")


def _ending(name: str) -> str:
    """The ending of a file's name, in small letters, or that it has none that is worth naming."""
    ending = Path(name).suffix.lower()
    short = ending.isascii() and ending.isprintable() and len(ending) <= 8
    return ending if ending and short else "no ending"

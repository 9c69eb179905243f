"""Arrays whose rows lie in several files: those of a folder, or those that a pattern finds."""

from __future__ import annotations

import glob
import re
import resource
from collections.abc import Sequence
from pathlib import Path

from sae_cli.core.errors import ConfigError, MachineError
from sae_cli.core.paths import full_path, full_pattern
from sae_cli.core.text import in_units
from sae_cli.datasets.formats.array_file import OPENERS, PACKED, open_array_file
from sae_cli.datasets.formats.opened import ArrayFile
from sae_cli.datasets.formats.packed import Packed
from sae_cli.datasets.rows import Part

# Hugging Face's library keeps what it has computed beside the shards of a data set.
DATASET_INFO = "dataset_info.json"
# Of a mapped file, one for its mapping and one to look at it; systems allow 1024 until they are
# asked for more.
DESCRIPTORS, OTHER_DESCRIPTORS = 2, 256


def open_arrays(given: str, option: str) -> ArrayFile:
    """Open a file, or the files of a folder or a pattern as one, in the natural order of names.

    Raises:
        ConfigError: there are none, they have several endings, or one cannot be read.
        MachineError: they are more than this process may keep open.
    """
    path = full_path(given)
    if path.is_dir():
        files = _in_folder(path)
    elif glob.has_magic(given) and not path.exists():
        files = [Path(found) for found in glob.glob(full_pattern(given), recursive=True)]
        files = [file for file in files if file.is_file()]
    else:
        return open_array_file(given, option)
    files.sort(key=natural)
    endings = sorted({file.suffix.lower() for file in files})
    if not files or len(endings) > 1:
        pattern = (path if path.is_dir() else path.parent) / "*.npy"
        found = f"files of several endings ({', '.join(endings)})" if files else "no files"
        raise ConfigError(
            f"{option}={given}: {path} has {found} to train on; give a folder or a pattern of "
            f"files of one ending, such as '{pattern}', of "
            f"{', '.join(OPENERS)}"
        )
    n_bytes = sum(file.stat().st_size for file in files)
    if endings[0] not in PACKED:
        _allow(DESCRIPTORS * len(files), str(path))
    opened = [open_array_file(str(file), option) for file in files]
    return _as_one(path, opened, f"{len(files)} of {endings[0]}, {in_units(n_bytes)}")


def _allow(descriptors: int, what: str) -> None:
    """Have the system let this process open so many files.

    Raises:
        MachineError: it does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors + OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        raise MachineError(
            f"{what}: to keep its files open takes {wanted} descriptors, and the system allows "
            f"{hard if hard != resource.RLIM_INFINITY else soft}; join files, or raise the hard "
            "limit (ulimit -Hn)"
        ) from None


def natural(path: Path) -> tuple[list[str | int], str]:
    """Order names as people do: ``shard-2`` before ``shard-10``."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [int(piece) if piece.isdecimal() else piece for piece in pieces], str(path)


def _in_folder(path: Path) -> list[Path]:
    of_datasets = (path / DATASET_INFO).is_file()
    return [
        file
        for file in path.iterdir()
        if file.suffix.lower() in OPENERS
        and file.is_file()
        and not file.name.startswith("." if not of_datasets else (".", "cache-", "tmp"))
    ]


def _as_one(path: Path, files: Sequence[ArrayFile], count: str) -> ArrayFile:
    first = files[0]

    def read(key: str | None) -> list[Part | Packed]:
        parts: list[Part | Packed] = []
        for file in files:
            held: Sequence[str | None] = [None] if file.keys is None else file.keys
            if key not in held:
                raise ConfigError(
                    f"{file.path} has no array {key}, and {first.path} has one; give files of the "
                    "same arrays"
                )
            parts += file.read(key)
        return parts

    return ArrayFile(path, first.keys, read, first.default, first.axes, count)

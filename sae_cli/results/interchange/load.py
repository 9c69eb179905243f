"""A dictionary from whatever file or folder it is in: the tensors' names tell the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError
from sae_cli.results.interchange import (
    dictionary_learning,
    gemma_scope,
    plain,
    saelens,
    sparsify,
)
from sae_cli.results.interchange.dictionary import Dictionary
from sae_cli.results.interchange.given import OPENERS, Given, open_given, reading
from sae_cli.results.interchange.written import Exported

SHOWN_NAMES = 8


class Format(NamedTuple):
    """A format that is read.

    Attributes:
        title: for messages.
        file: its name in a folder.
        owns: tells by names of tensors and by metadata whether a file is of this format.
        read: makes a dictionary; raises ValueError or ConfigError.
    """

    title: str
    file: str
    owns: Callable[[Given], bool]
    read: Callable[[Given], Dictionary]


# Our own comes first, because its tensors have the names of SAELens.
FORMATS = (
    Format("sae-export", plain.FILE, plain.owns, plain.read),
    Format("sparsify", sparsify.WEIGHTS, sparsify.owns, sparsify.read),
    Format("SAELens", saelens.WEIGHTS, saelens.owns, saelens.read),
    Format(
        "dictionary_learning",
        dictionary_learning.WEIGHTS,
        dictionary_learning.owns,
        dictionary_learning.read,
    ),
    Format("Gemma Scope", gemma_scope.WEIGHTS, gemma_scope.owns, gemma_scope.read),
)


def find_weights(path: Path) -> Path | None:
    """Find the file of a dictionary: the path itself, or one of a known name in a folder."""
    if not path.is_dir():
        return path if path.suffix.lower() in OPENERS and path.exists() else None
    files = (path / one.file for one in FORMATS)
    return next((file for file in files if file.exists()), None)


def read_dictionary(path: Path) -> Exported:
    """Read the dictionary in a file, and what is known of its examples.

    Raises:
        ConfigError: the file cannot be read, is damaged, or is of no format that is read.
    """
    given = open_given(path)
    found = next((one for one in FORMATS if one.owns(given)), None)
    if found is None:
        names = sorted(given.names)
        more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        raise ConfigError(
            f"{path} holds {', '.join(names[:SHOWN_NAMES]) or 'no tensors'}{more}, which is none "
            f"of the dictionaries that are read: {', '.join(one.title for one in FORMATS)}"
        )
    return reading(path, lambda: _read(given, found))


def _read(given: Given, found: Format) -> Exported:
    dictionary = found.read(given)
    if plain.owns(given):
        return plain.read_exported(given, dictionary)
    return Exported(dictionary, (dictionary.n_features,), False)

"""Tables of numbers as text (.csv, .tsv), with or without a line of names; read into memory."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.opened import ArrayFile
from sae_cli.datasets.formats.parts import as_value_errors, check_memory, to_part
from sae_cli.datasets.rows import Part

DELIMITERS = {".csv": ",", ".tsv": "\t"}
# A number of 8 bytes is at least a digit and what ends it.
MAX_GROWTH = 4
# What NumPy says of a cell, and of a row.
CELL = re.compile(r"could not convert string '(.*)' to \w+ at row (\d+), column (\d+)", re.DOTALL)
WIDTH = re.compile(r"number of columns changed from (\d+) to (\d+) at row (\d+)")


def open_text_table(path: Path) -> ArrayFile:
    """Open a table of numbers.

    Raises:
        ConfigError: the first line looks like one of pandas that is not data.
        ValueError, OSError: it is not text, or cannot be read.
    """
    delimiter = DELIMITERS[path.suffix.lower()]
    names = _names(path, delimiter)
    return ArrayFile(path, None, lambda _: [_read(path, delimiter, skip=names)])


def _names(path: Path, delimiter: str) -> int:
    """Count the lines of names at the beginning: one without any number, or none."""
    with path.open(encoding="utf-8-sig", newline="") as file, as_value_errors("CSV"):
        first = next(csv.reader(file, delimiter=delimiter), [])
    if first and not first[0].strip() and len(first) > 1:
        raise ConfigError(
            f"{path}: its first column has no name, as the index that pandas writes; save it with "
            "to_csv(FILE, index=False)"
        )
    if len(first) > 2 and first == [str(number) for number in range(len(first))]:
        raise ConfigError(
            f"{path}: its first line counts from 0 to {len(first) - 1}, as pandas names columns; "
            "save it with to_csv(FILE, header=False, index=False)"
        )
    return 0 if any(_is_number(cell) for cell in first) else 1


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read(path: Path, delimiter: str, *, skip: int) -> Part:
    check_memory(MAX_GROWTH * path.stat().st_size, str(path))
    try:
        with path.open(encoding="utf-8-sig") as file, warnings.catch_warnings():
            # A file without rows is an array of no rows, which is refused later.
            warnings.simplefilter("ignore", UserWarning)
            values = np.loadtxt(
                file, delimiter=delimiter, skiprows=skip, ndmin=2, comments=None, quotechar='"'
            )
    except ValueError as error:
        raise _wrong(path, str(error), delimiter, skip) from None
    return to_part(values, str(path))


def _wrong(path: Path, says: str, delimiter: str, skip: int) -> Exception:
    """Word NumPy's error about a cell or a row; rows of names do not count."""
    after = " below the names" if skip else ""
    if found := CELL.search(says):
        cell, row, column = found.groups()
        return ConfigError(
            f"{path}: row {int(row) + 1}{after}, column {column} (the first is 1) holds "
            f"{cell[:100]!r}, which is not a number; mend it, or remove that row or column "
            f"({delimiter!r} separates columns)"
        )
    if found := WIDTH.search(says):
        expected, width, row = found.groups()
        return ConfigError(
            f"{path}: row {row}{after} (the first is 1) has {width} columns, and those before it "
            f"have {expected}; give rows of one length"
        )
    return ValueError(says)

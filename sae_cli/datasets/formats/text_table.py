"""Tables of numbers as text (.csv, .tsv), with or without a line of names."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.opened import ArrayFile
from sae_cli.datasets.formats.packed import Packed, piece_rows
from sae_cli.datasets.formats.parts import as_value_errors, to_part

DELIMITERS = {".csv": ",", ".tsv": "\t"}
# Numbers are read as float64.
BYTES = 8
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
    return ArrayFile(path, None, lambda _: [_packed(path, delimiter, names)])


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


def _packed(path: Path, delimiter: str, skip: int) -> Packed:
    return Packed(
        path,
        str(path),
        BYTES * _most_numbers(path, delimiter),
        lambda: [to_part(_read(path, delimiter, skip), str(path))],
        lambda: _pieces(path, delimiter, skip),
    )


def _most_numbers(path: Path, delimiter: str) -> int:
    """Count what may end a number, or more."""
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(1 << 20), b"")
        return 1 + sum(
            piece.count(e) for piece in pieces for e in (delimiter.encode(), b"\n", b"\r")
        )


def _read(path: Path, delimiter: str, skip: int) -> NDArray[np.float64]:
    with _opened(path) as file:
        return _rows(path, file, delimiter, skip=skip)


def _pieces(path: Path, delimiter: str, skip: int) -> Iterator[NDArray[np.float64]]:
    with _opened(path) as file:
        first = _rows(path, file, delimiter, skip=skip, most=1)
        yield first
        n_rows, width = first.shape
        step = piece_rows(BYTES * width)
        # NumPy compares the width of each row with that of the first one.
        like = delimiter.join(["0"] * width)
        while n_rows:
            lines = chain([like], file)
            rows = _rows(path, lines, delimiter, names=skip, before=n_rows - 1, most=step + 1)[1:]
            if not len(rows):
                return
            yield rows
            n_rows += len(rows)


def _opened(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig")


def _rows(
    path: Path,
    lines: Iterable[str],
    delimiter: str,
    *,
    skip: int = 0,
    names: int = 0,
    before: int = 0,
    most: int | None = None,
) -> NDArray[np.float64]:
    """Read rows.

    Args:
        skip: lines of names at the beginning, which are not read.
        names: lines of names that were skipped before.
        before: rows that came before these.
        most: so many rows are read.
    """
    try:
        with warnings.catch_warnings():
            # A file without rows is an array of no rows, which is refused later.
            warnings.simplefilter("ignore", UserWarning)
            found: NDArray[np.float64] = np.loadtxt(
                lines,
                delimiter=delimiter,
                skiprows=skip,
                ndmin=2,
                comments=None,
                quotechar='"',
                max_rows=most,
            )
            return found
    except ValueError as error:
        raise _wrong(path, str(error), delimiter, skip + names, before) from None


def _wrong(path: Path, says: str, delimiter: str, skip: int, before: int) -> Exception:
    """Word NumPy's error about a cell or a row; rows of names do not count."""
    after = " below the names" if skip else ""
    if found := CELL.search(says):
        cell, row, column = found.groups()
        return ConfigError(
            f"{path}: row {before + int(row) + 1}{after}, column {column} (the first is 1) holds "
            f"{cell[:100]!r}, which is not a number; mend it, or remove that row or column "
            f"({delimiter!r} separates columns)"
        )
    if found := WIDTH.search(says):
        expected, width, row = found.groups()
        return ConfigError(
            f"{path}: row {before + int(row)}{after} (the first is 1) has {width} columns, and "
            f"those before it have {expected}; give rows of one length"
        )
    return ValueError(says)

"""Tables that fit the width of a terminal: what all rows share is said once, the rest by rank."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sae_cli.core.errors import in_one_line
from sae_cli.core.text import ABSENT

# The width where there is no terminal, and the least that a table is made for.
USUAL, LEAST = 80, 40
BETWEEN = "  "
# The text of a column that may be hidden is cut to so many letters before the column is, and that
# of one that is always there before another is hidden, or to three fifths of a narrow terminal.
CUT_TO, NAME_TO = 24, 48
# So many letters of what follows the folders of a path are kept, such as ``12_m``.
JOB_LETTERS = 4
DOTS = "..."
# Lines are not broken here.
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: its name, such as ``val/fvu`` or ``activation.k``.
        cells: the text of each row.
        rank: of those that do not fit, the columns of the highest rank are hidden; one of rank 0
            is always there.
        left: whether it is text, which is aligned to the left and may be cut.
        condition: what its values hold under, such as ``code > 0``.
    """

    header: str
    cells: Sequence[str]
    rank: int = 0
    left: bool = False
    condition: str = ""

    @property
    def label(self) -> str:
        """The header with its condition."""
        return f"{self.header} ({self.condition})" if self.condition else self.header

    @property
    def width(self) -> int:
        """The letters of the longest line in it."""
        return max(len(self.label), *map(len, self.cells), 0)


def terminal_width() -> int:
    """Give the columns of the terminal, ``USUAL`` where there is none."""
    return max(LEAST, shutil.get_terminal_size((USUAL, 24)).columns)


def fitted(columns: Sequence[Column], width: int | None, where: str) -> list[str]:
    """Lay out a table in so many columns of a terminal.

    What is the same in several rows leaves the table and stands above it. If that is not enough,
    headers lose what is said below the table, and then columns are hidden, which the last line
    names.

    Args:
        columns: of the same number of rows, one of rank 0 among them.
        width: None shows everything as it is.
        where: says how to see what is hidden, such as ``--wide shows all``.
    """
    columns = [replace(one, cells=[in_one_line(cell) for cell in one.cells]) for one in columns]
    if width is None:
        return _aligned(columns, [one.width for one in columns])
    shared = [one for one in columns if one.rank and len(one.cells) > 1 and len({*one.cells}) == 1]
    said = [f"{one.label}={one.cells[0]}" for one in shared if one.cells[0] not in ("", ABSENT)]
    shown = [one for one in columns if one not in shared]
    above = _listed("all: ", said, width)
    notes: list[str] = []
    if _total([one.width for one in shown]) > width:
        pairs = list(zip(shown, _shortened(shown), strict=True))
        chosen = _that_fit([short for _, short in pairs], width)
        hidden = [full.label for full, short in pairs if short not in chosen]
        pairs = [(full, short) for full, short in pairs if short in chosen]
        shown = [short for _, short in pairs]
        notes = _listed("", [note for pair in pairs if (note := _note(*pair))], width)
        notes += _listed("hidden: ", hidden, width, f"; {where}")
    return [*above, *_aligned(shown, _widths(shown, width)), *notes]


def wrapped(line: str, width: int | None) -> list[str]:
    """Break a line between words."""
    if width is None:
        return [line]
    # A name or a path stays whole, so that it can be copied.
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _listed(start: str, items: Sequence[str], width: int, end: str = "") -> list[str]:
    """Word a list, whose lines break between its items; nothing where there is none."""
    if not items:
        return []
    line = ", ".join(item.replace(" ", NO_BREAK) for item in items)
    return [line.replace(NO_BREAK, " ") for line in wrapped(f"{start}{line}{end}", width)]


def _shortened(columns: Sequence[Column]) -> list[Column]:
    """Leave out of headers what no other column needs, and the folder that all paths begin with."""
    headers = Counter(one.header for one in columns)
    lasts = Counter(_last(one.header) for one in columns)
    found = []
    for one in columns:
        header = _last(one.header) if lasts[_last(one.header)] == 1 else one.header
        condition = one.condition if headers[one.header] > 1 else ""
        start = len(_folder(one))
        cells = [cell[start:] for cell in one.cells]
        found.append(replace(one, header=header, condition=condition, cells=cells))
    return found


def _last(header: str) -> str:
    """Give the last word of a dotted or slashed name."""
    return header.replace("/", ".").rpartition(".")[2]


def _folder(column: Column) -> str:
    """Give the folder that the paths of a column begin with, with its last slash."""
    if not column.left or len(column.cells) < 2:
        return ""
    common = ""
    for names in zip(*(cell.split("/")[:-1] for cell in column.cells), strict=False):
        if len({*names}) > 1:
            break
        common += f"{names[0]}/"
    return common


def _note(full: Column, short: Column) -> str:
    """Say what a shortened column stands for."""
    if full.label != short.label:
        return f"{short.label} = {full.label}"
    return f"{full.label} = {folder}{DOTS}" if (folder := _folder(full)) else ""


def _that_fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Choose the columns that fit, those of a low rank first."""
    chosen = [one for one in columns if not one.rank]
    for one in sorted((one for one in columns if one.rank), key=lambda one: one.rank):
        if _total([_least(other, width) for other in (*chosen, one)]) <= width:
            chosen.append(one)
    return [one for one in columns if one in chosen]


def _least(column: Column, width: int) -> int:
    """Give the width that a column takes at least; names that differ do not become one when cut,
    if so many columns of a terminal can show them apart."""
    if not column.left:
        return column.width
    cut_to = CUT_TO if column.rank else min(NAME_TO, width * 3 // 5)
    least = min(column.width, max(cut_to, len(column.label)))
    names = () if column.rank else {*column.cells}
    jobs = [length for name in names if (length := _job(name) + len(DOTS)) <= min(NAME_TO, width)]
    least = max(least, min(column.width, max(jobs, default=0)))
    for letters in range(least, min(column.width, width) + 1):
        if len({_cut(name, letters) for name in names}) == len(names):
            return letters
    return least


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Share the room out: what may be cut gets what the others leave."""
    widths = [_least(one, width) for one in columns]
    for number, one in enumerate(columns):
        widths[number] += max(0, min(one.width - widths[number], width - _total(widths)))
    # If what is never hidden is too wide, its widest text is cut.
    while _total(widths) > width:
        texts = [number for number, one in enumerate(columns) if one.left]
        widest = max(texts, key=lambda number: widths[number], default=None)
        if widest is None or widths[widest] <= len(columns[widest].label) + len(DOTS):
            break
        widths[widest] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(BETWEEN) * (len(widths) - 1)


def _aligned(columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    rows = zip(*([one.label, *one.cells] for one in columns), strict=True)
    return [
        BETWEEN.join(
            _cut(cell, width).ljust(width) if one.left else cell.rjust(width)
            for one, cell, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, width: int) -> str:
    """Cut the middle out of a text that is too long: paths and names differ at their ends."""
    if len(text) <= width:
        return text
    job = _job(text)
    start = job if JOB_LETTERS <= job <= width - len(DOTS) else (width - len(DOTS) + 1) // 2
    end = max(0, width - len(DOTS) - start)
    return text[:start] + DOTS + text[len(text) - end :]


def _job(name: str) -> int:
    """Give how many letters of a path say which job it is: the folder of its sweep, its number."""
    return name.rfind("/") + JOB_LETTERS

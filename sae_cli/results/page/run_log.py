"""What a run said: its closing words, and the end of its log."""

from __future__ import annotations

from pathlib import Path

from sae_cli.core.errors import in_one_line
from sae_cli.run_folder.files import read_file
from sae_cli.run_folder.layout import LOG

NOTE = "note: "
# These lines begin and end what a run says of its result.
AFTER, BEFORE = "Metrics of the final weights", "run folder: "
# A page holds the end of a long log.
MOST_CHARACTERS = 1 << 16


def read_log(path: Path) -> list[str]:
    """Read the lines of a run's log, each harmless; none where it cannot be read."""
    try:
        text = read_file(path / LOG).decode(errors="replace")
    except (OSError, ValueError):
        return []
    return [in_one_line(line) for line in text.splitlines()]


def notes_of(lines: list[str]) -> list[str]:
    """Give what a run noted on its data and its result, without the words that begin a note."""
    found = [line for line in lines if line.startswith(NOTE)]
    ends = [number for number, line in enumerate(lines) if line.startswith(AFTER)]
    for line in lines[ends[-1] + 1 :] if ends else []:
        if line.startswith(BEFORE):
            break
        found.append(line)
    return [line.removeprefix(NOTE) for line in dict.fromkeys(found)]


def end_of(lines: list[str]) -> str:
    """Give the log, or the end of a long one."""
    text = "\n".join(lines)
    return text if len(text) <= MOST_CHARACTERS else f"...\n{text[-MOST_CHARACTERS:]}"

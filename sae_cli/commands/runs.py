"""The command ``sae-runs``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.parser import Parser
from sae_cli.core.errors import ConfigError, in_one_line, nearest
from sae_cli.core.paths import full_path
from sae_cli.core.text import counted, say, short

if TYPE_CHECKING:
    import argparse

    from sae_cli.results.listing.listed import Listed

DEFAULT = "outputs"
# Words that begin a command line, and how many runs follow.
ACTIONS = {"compare": 2, "show": 1}


def run(arguments: Sequence[str]) -> int:
    """Run a command line: 0 done, 2 wrong input; the other codes as ``sae-train`` has them."""
    return run_guarded(lambda: _run(arguments), show_traceback="--traceback" in arguments)


def _run(arguments: Sequence[str]) -> int:
    given = _parser().take_apart(arguments)
    first = given.words[0] if given.words else ""
    if first in ACTIONS:
        _tell(first, [full_path(word) for word in given.words[1:]], given)
    else:
        _list([full_path(word) for word in given.words or [DEFAULT]], given)
    return DONE


def _tell(action: str, paths: Sequence[Path], given: argparse.Namespace) -> None:
    """Show a run, or compare two."""
    if len(paths) != ACTIONS[action]:
        what = "the folders of two runs" if action == "compare" else "the folder of one run"
        raise ConfigError(f"sae-runs {action} takes {what}, given {len(paths)}")
    if given.where is not None or given.sort is not None or given.csv or given.reverse:
        raise ConfigError(f"--where, --sort, --reverse and --csv are for lists, not for {action}")
    from sae_cli.results.listing.details import compare, read_run, show
    from sae_cli.results.tables import terminal_width

    runs = [read_run(path) for path in paths]
    width = None if given.wide else terminal_width()
    for line in show(*runs) if action == "show" else compare(runs[0], runs[1], width):
        say(line)


def _list(folders: Sequence[Path], given: argparse.Namespace) -> None:
    """List the runs in and below folders."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{short(folder)}: no such folder; give one with runs in it")
    from sae_cli.results.listing.conditions import parse
    from sae_cli.results.listing.listed import find_runs, read_listed
    from sae_cli.results.listing.table import as_csv, lines_of
    from sae_cli.results.tables import terminal_width

    condition, names = parse(given.where) if given.where is not None else (None, set())
    runs = [read_listed(path) for path in dict.fromkeys(p for f in folders for p in find_runs(f))]
    if not runs:
        raise ConfigError(f"no run in {', '.join(map(short, folders))}; give a folder with runs")
    keys = {*names, *([given.sort] if given.sort is not None else [])}
    _check_keys(keys, runs)
    chosen = [run for run in runs if condition is None or condition(run)]
    chosen.sort(key=lambda run: _rank(run, given.sort, given.reverse), reverse=given.reverse)
    if given.csv:
        print(as_csv(chosen), end="")
        return
    width = None if given.wide else terminal_width()
    for line in lines_of(chosen, sorted(keys), datetime.now(UTC), width):
        say(line)
    left = "" if condition is None else f" of {len(runs):,}"
    print(in_one_line(f"{counted(len(chosen), 'run')}{left}"), file=sys.stderr)


def _check_keys(keys: set[str], runs: Sequence[Listed]) -> None:
    """Refuse names that no run has, which are typos."""
    known = {key for run in runs for key in run.keys}
    for key in sorted(keys - known):
        raise ConfigError(
            f"{key}: no run has a setting or metric of that name{nearest(key, sorted(known))}"
        )


def _rank(run: Listed, key: str | None, reverse: bool) -> tuple[bool, int, Any]:
    """Give what a run is sorted by; one without a value comes last."""
    value = run.value("started" if key is None else key)
    missing = value is None or value != value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (missing is not reverse, 1, "" if missing else str(value))
    return (missing is not reverse, 0, 0.0 if missing else value)


def _parser() -> Parser:
    parser = Parser(
        "sae-runs",
        "List the runs in and below a folder: status, model, data, metrics, what sets them apart, "
        "age. sae-runs show RUN tells of one, sae-runs compare A B puts two side by side. Exit "
        "code 0: done, 2: wrong input.",
    )
    parser.add_argument(
        "words", nargs="*", metavar="FOLDER", help=f"with runs in it; {DEFAULT} without it"
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="such as 'model=sparse_kl and val/fvu<0.2'; =, !=, <, <=, >, >=, and, or, not, ( )",
    )
    parser.add_argument("--sort", metavar="KEY", help="a setting or metric; when they began")
    parser.add_argument("--reverse", action="store_true", help="the largest first")
    parser.add_argument("--csv", action="store_true", help="all settings that differ, all metrics")
    parser.add_argument(
        "--wide", action="store_true", help="whole, however wide: every column, text uncut"
    )
    return parser

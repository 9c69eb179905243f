"""The command ``sae-report``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.parser import Parser
from sae_cli.core.errors import ConfigError, SaeError, in_one_line
from sae_cli.core.paths import full_path
from sae_cli.core.text import say, short


def run(arguments: Sequence[str]) -> int:
    """Run a command line: 0 done, 2 wrong input; the other codes as ``sae-train`` has them."""
    return run_guarded(lambda: _run(arguments), show_traceback="--traceback" in arguments)


def _run(arguments: Sequence[str]) -> int:
    given = _parser().take_apart(arguments)
    folders = [full_path(folder) for folder in given.folders]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{short(folder)}: no such folder; give those of runs or sweeps")
    # pydantic takes its time, and a typo should not wait for it.
    from sae_cli.results.gather import gather, rows
    from sae_cli.results.markdown import check_target, page, write_page
    from sae_cli.results.page.runs_page import REPORT
    from sae_cli.results.page.write import check_page
    from sae_cli.results.printed import printed
    from sae_cli.results.tables import terminal_width

    page_file = None if given.page is None else full_path(given.page)
    if page_file is not None:
        check_page(page_file)
    into = None if given.into is None else full_path(given.into)
    if into is not None:
        check_target(into)
    try:
        runs, left_out = gather(folders)
    except ConfigError as error:
        # A page shows runs that have not finished, too, where it is asked for.
        if page_file is None:
            raise
        print(in_one_line(f"no table: {error}"), file=sys.stderr)
        _write_page(folders, page_file, asked=True, say_on=sys.stdout)
        return DONE
    for line in left_out:
        print(in_one_line(f"left out: {line}"), file=sys.stderr)
    found = rows(runs)
    text = page(found, runs, len(left_out), shlex.join(["sae-report", *arguments]))
    if into is None and sys.stdout.isatty() and not given.wide:
        for line in printed(found, terminal_width()):
            say(line)
    elif into is None:
        print(text, end="")
    else:
        write_page(into, text)
        say(f"{len(found)} rows from {len(runs)} finished runs: {short(into)}")
    beside = None if into is None or len(folders) == 1 else into.parent / REPORT
    # The table may be piped on.
    where = sys.stderr if into is None else sys.stdout
    _write_page(folders, page_file or beside, asked=page_file is not None, say_on=where)
    return DONE


def _write_page(
    folders: Sequence[Path], target: Path | None, *, asked: bool, say_on: TextIO
) -> None:
    """Write the page to look at, and say where it is.

    Args:
        target: the file, or None where it goes without saying.
        asked: whether it was asked for; if not, that it cannot be written is a line and no error.
    """
    from sae_cli.results.page.write import write_page_of

    try:
        file = write_page_of(folders, target)
    except (SaeError, OSError) as error:
        if asked:
            raise
        print(in_one_line(f"no page: {error}"), file=sys.stderr)
        return
    print(in_one_line(f"page: {short(file)}"), file=say_on, flush=True)


def _parser() -> Parser:
    parser = Parser(
        "sae-report",
        "Make a table of results from the folders of finished runs: a row for each "
        "experiment and metric with what was published, the mean over seeds, and the command; and "
        "report.html, a page to look at them with. Exit code 0: done, 2: wrong input.",
        examples={
            "sae-report outputs": "print a table of all runs below it",
            "sae-report outputs --into results.md": "write the table to a file",
        },
    )
    parser.add_argument(
        "folders", nargs="+", metavar="FOLDER", help="of a run, of a sweep, or of such folders"
    )
    parser.add_argument(
        "--into", metavar="FILE", help="the table, such as docs/results.md; printed without it"
    )
    parser.add_argument(
        "--page",
        metavar="FILE",
        help="the page to look at runs with; without it report.html, in FOLDER, or beside the "
        "table if there are several",
    )
    parser.add_argument(
        "--wide", action="store_true", help="print the whole table in Markdown, on a terminal, too"
    )
    return parser

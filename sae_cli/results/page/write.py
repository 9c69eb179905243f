"""The file of a page, ``report.html``."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
from pathlib import Path

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import short
from sae_cli.results.gather import runs_below
from sae_cli.results.page.objectives import objectives_of
from sae_cli.results.page.run_page import run_page
from sae_cli.results.page.runs_page import REPORT, runs_page
from sae_cli.results.page.shown_run import ShownRun, read_run
from sae_cli.run_folder.files import read_file, read_json, refuse_link, write_atomically
from sae_cli.run_folder.layout import STATUS, holds_run, holds_sweep

# The first lines of every page; a file that begins otherwise is somebody's own.
MARKER = b"<!doctype html>\n<!-- Made by sae-train:"


def write_run_page(folder: Path, status: str | None = None) -> Path:
    """Write the page of a run into its folder.

    Args:
        status: that of the run, where its folder does not say it yet.

    Raises:
        ConfigError: its configuration cannot be read, or another file has the name of the page.
        OSError: the disk is full, for example.
        MovedError: as ``write_atomically``.
    """
    target = folder / REPORT
    check_page(target)
    write_atomically(target, run_page(read_run(folder, status), folder))
    return target


def write_page_of(folders: Sequence[Path], target: Path | None = None) -> Path:
    """Write the page of all runs in and below these folders, of one run or of several.

    Args:
        folders: of runs, of sweeps, or folders of these.
        target: the file; None for ``report.html`` in the folder, or here if there are several.

    Returns:
        the file.

    Raises:
        ConfigError: no run can be read, or another file has the name of the page.
        OSError: the disk is full, for example.
    """
    if target is None:
        target = (folders[0] if len(folders) == 1 else Path.cwd()) / REPORT
    check_page(target)
    paths = {path.resolve(): path for folder in folders for path in runs_below(folder)}
    runs, left_out = _read(list(paths.values()))
    left_out += [line for folder in folders for line in _not_begun(folder)]
    if not runs:
        first = f" ({left_out[0]})" if left_out else ""
        raise ConfigError(f"no run in {', '.join(map(short, folders))} can be read{first}")
    alone = [path.resolve() for path in folders] == [path.resolve() for path in paths.values()]
    if alone and len(runs) == 1:
        content = run_page(runs[0], target.parent)
    else:
        title = ", ".join(folder.resolve().name for folder in folders)
        objectives = objectives_of(folders[0]) if len(folders) == 1 else []
        content = runs_page(runs, target.parent, title, left_out, objectives)
    write_atomically(target, content)
    return target


def _read(paths: Sequence[Path]) -> tuple[list[ShownRun], list[str]]:
    """Read runs, and give a line on each that cannot be read."""
    runs, left_out = [], []
    for path in paths:
        try:
            runs.append(read_run(path))
        except ConfigError as error:
            left_out.append(str(error))
    return runs, left_out


def _not_begun(sweep: Path) -> list[str]:
    """Give a line on each job of a sweep that failed before its training began."""
    if not holds_sweep(sweep):
        return []
    jobs = [path for path in sorted(sweep.iterdir()) if path.is_dir() and not holds_run(path)]
    lines = []
    for job in jobs:
        try:
            about = read_json(job / STATUS)
        except ConfigError:
            continue
        lines.append(f"{short(job)}: {about.get('status')}: {about.get('error')}")
    return lines


def check_page(target: Path) -> None:
    """Raise ConfigError unless a page may be written to the file."""
    # A page is written under a name that begins with its own, before it is renamed.
    for path in (target, *target.parent.glob(f"{escape(target.name)}.*")):
        refuse_link(path)
    if not target.parent.is_dir():
        raise ConfigError(
            f"{short(target)}: there is no folder {short(target.parent)}; make it first"
        )
    if not target.exists():
        return
    try:
        first = read_file(target, len(MARKER))
    except (OSError, ValueError):
        first = b""
    if first != MARKER:
        raise ConfigError(
            f"{short(target)} is not a page of sae-train and is left as it is; remove it, or give "
            "another name with --page"
        )

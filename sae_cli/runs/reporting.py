"""The page that a run or a sweep writes at its end, without which it has ended as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sae_cli.core.errors import MovedError
from sae_cli.results.page.runs_page import REPORT
from sae_cli.results.page.write import write_page_of, write_run_page

Say = Callable[[str], None]


def report_run(folder: Path, status: str, say: Say) -> None:
    """Write the page of a run; if that fails, say so in one line.

    Args:
        status: what the run has come to.

    Raises:
        MovedError: the folder is no longer where it was, and nothing more is to be written.
    """
    _attempt(lambda: write_run_page(folder, status), say)


def report_sweep(folder: Path, say: Say) -> None:
    """Write the page of a sweep as ``report_run`` does that of a run."""
    _attempt(lambda: write_page_of([folder]), say)


def _attempt(write: Callable[[], Path], say: Say) -> None:
    try:
        write()
    except MovedError:
        raise
    # Whatever is wrong with a page, the run is worth more than the page.
    except Exception as error:
        say(f"no {REPORT}: {str(error) or type(error).__name__}; sae-report FOLDER makes it")

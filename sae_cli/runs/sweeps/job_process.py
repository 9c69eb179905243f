"""Jobs in a process of their own, so that neither their sweep nor other jobs die with it.

A launcher's worker is kept for many jobs, and joblib stops all workers when one of them dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.process import BaseProcess

from sae_cli.core.errors import Crowded, SaeError, Stopped
from sae_cli.core.plugins.loaded import Plugin
from sae_cli.core.plugins.loading import load_again
from sae_cli.core.signals import (
    SIGNALS,
    handle_signals,
    let_signals_in,
    signals_held,
    stopping_at_once,
)
from sae_cli.run_folder.layout import status_of
from sae_cli.run_folder.lock import is_locked
from sae_cli.runs.sweeps.jobs import record_failure, tell_standing
from sae_cli.runs.sweeps.results import write_results
from sae_cli.runs.sweeps.sweep import Sweep

SPAWN = multiprocessing.get_context("spawn")
# A fork has all modules at once. Elsewhere than on Linux, libraries may not compute after one.
CONTEXT = multiprocessing.get_context("fork") if sys.platform == "linux" else SPAWN
POLL_SECONDS, PARENT_SECONDS = 0.1, 1.0

Work = Callable[[Sweep, list[int]], None]


def run_apart(
    sweep: Sweep, group: list[int], work: Work, plugins: Sequence[Plugin] = ()
) -> int | None:
    """Run one job or several in a child of this process, and wait for its end.

    The child saves its work on a signal to this process.

    Args:
        group: the numbers of the jobs.
        work: runs them.
        plugins: of the process that runs the sweep, which a worker loads, too.

    Returns:
        the first signal that this process has met; None without one.
    """
    job = CONTEXT.Process(target=_run, args=(sweep, group, work, os.getpid(), plugins))
    received: list[int] = []
    with handle_signals(lambda signum, frame: received.append(signum)):
        with signals_held():
            job.start()
        passed_on = 0
        while job.exitcode is None:
            job.join(POLL_SECONDS)
            for signum in received[passed_on:]:
                pass_on(job, signum)
            passed_on = len(received)
    _check_end(sweep, group, job.exitcode)
    return received[0] if received else None


def _run(
    sweep: Sweep, group: list[int], work: Work, parent: int, plugins: Sequence[Plugin]
) -> None:
    """Be the child."""
    try:
        with stopping_at_once():
            let_signals_in()
            end_with_parent(parent)
            load_again(plugins)
            try:
                work(sweep, group)
            finally:
                rows = write_results(sweep)
            tell_standing(sweep, rows)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except (SaeError, OSError, RuntimeError) as error:
        # The machine gives no thread, or no room for the results; the job itself has its own end.
        record_failures(sweep, group, str(error))


def _check_end(sweep: Sweep, group: list[int], code: int) -> None:
    """Record in the jobs' folders how their process died, if it did."""
    if (how := how_it_died(code)) is not None:
        record_failures(sweep, group, f"its process {how}")


def record_failures(sweep: Sweep, group: list[int], reason: str) -> None:
    """Show and record the failure of what a launcher was sent: of the jobs that have not ended."""
    # The process that trains several notices within a second that its parent has gone, and saves.
    while len(group) > 1 and any(is_locked(sweep.folders[number]) for number in group):
        time.sleep(POLL_SECONDS)
    for number in group:
        if len(group) == 1 or status_of(sweep.folders[number]) in {"waiting", "interrupted"}:
            record_failure(sweep, number, reason)


def how_it_died(code: int) -> str | None:
    """Word how a process died, from its exit code; None if it came to an end of its own."""
    if code == Crowded.exit_code:
        return "needs more memory than the GPU has"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
        return how + (", as the system does when memory ends" if -code == signal.SIGKILL else "")
    if code != 0 and code - 128 not in SIGNALS:
        return f"ended with exit code {code}"
    return None


@cache
def end_with_parent(parent: int) -> None:
    """Have this process meet a SIGTERM when its parent has ended, however that ended."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def pass_on(child: BaseProcess, number: int) -> None:
    """Pass a signal on to a child, unless it has ended, and its number is its own no more."""
    # A cluster signals the child as well, which may have ended since. So does a Ctrl-C, and a
    # second one would stop it at once.
    if child.exitcode is None and child.pid is not None:
        os.kill(child.pid, signal.SIGTERM if number == signal.SIGINT else number)

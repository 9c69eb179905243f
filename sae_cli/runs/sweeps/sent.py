"""What a launcher is sent: jobs by themselves, or groups of jobs that train side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

from sae_cli.assembly.data import read_once
from sae_cli.core.text import counted
from sae_cli.runs.sweeps.groups import Group
from sae_cli.runs.sweeps.job_process import Work
from sae_cli.runs.sweeps.jobs import run_job, tell, tell_standing
from sae_cli.runs.sweeps.side_by_side import SideBySide, divide, on_gpu, why_not
from sae_cli.runs.sweeps.standing import ENDED
from sae_cli.runs.sweeps.sweep import Sweep


def to_send(
    sweep: Sweep, numbers: Sequence[int], at_a_time: int | None
) -> tuple[list[Group], Work]:
    """Divide jobs into groups, each of which is one job of a launcher.

    Args:
        at_a_time: how many groups run at a time, 1 where that is not known; None if each job is
            sent by itself.

    Returns:
        the groups, and what runs one of them in the process that a launcher has started for it.
    """
    alone = [[number] for number in numbers]
    if at_a_time is None or not numbers:
        return alone, run_alone
    with read_once():
        reason = why_not(sweep)
    if reason is not None:
        tell(sweep, f"each job is sent by itself, because {reason}")
        return alone, run_alone
    groups = divide(sweep, numbers, at_a_time, on_gpu=on_gpu(sweep))
    left = sum(map(len, groups))
    if left < len(numbers):
        tell(sweep, f"{counted(len(numbers) - left, 'job')} finished before")
    if groups:
        where = "in one pass on a GPU" if on_gpu(sweep) else "on one core"
        line = f"{counted(left, 'job')} in {counted(len(groups), 'group')}, each {where}"
        tell(sweep, f"{line}; train.log has what each job says")
    return groups, train_together


def run_alone(sweep: Sweep, group: Group) -> None:
    """Run a job that was sent by itself."""
    for number in group:
        run_job(sweep, number)


def train_together(sweep: Sweep, group: Group) -> None:
    """Train a group side by side; one of a single job is as silent as the others."""
    SideBySide(cores=1, pace=partial(_Ended, group), announced=True).launch(sweep, group)


@final
class _Ended:
    """Tells how far a sweep is when a job of a group has ended, but the last, whose caller does."""

    def __init__(self, group: Group, sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> None:
        self._sweep = sweep
        self._folders = {sweep.jobs[number].folder for number in group}
        self._ended = self._count(rows)

    def tell(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Tell it, if another one has ended."""
        ended = self._count(rows)
        if self._ended < ended < len(self._folders):
            tell_standing(self._sweep, rows)
        self._ended = ended

    def end(self) -> None:
        """Come to an end."""

    def _count(self, rows: Sequence[Mapping[str, Any]]) -> int:
        return sum(row["job"] in self._folders and row["status"] in ENDED for row in rows)

"""Sweeps whose jobs train side by side: killed, stopped, and with jobs that go wrong."""

from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Never

import pytest

from sae_cli.run_folder.lock import is_locked
from sae_cli.runs.sweeps import groups as sweep_groups
from sae_cli.runs.sweeps.sweep import Sweep
from tests.conftest import fresh_seed, slow
from tests.faults import limits
from tests.faults.sweeps import (
    DIVERGE,
    KEPT,
    TOGETHER,
    TWELVE,
    all_at_work,
    at_step_of,
    children,
    differing,
    groups,
    pretend_a_gpu,
    send,
    statuses,
)
from tests.forked import Before, Forked

ENDED = ["failed" if number in DIVERGE else "finished" for number in range(12)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of twelve, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert Forked(folder)(*TWELVE, TOGETHER).code == 1
    assert statuses(folder / "sweep") == ENDED
    return folder / "sweep"


def check_ended(forked: Forked, whole: Path, before: Before | None = None) -> None:
    """Resume the sweep, and check that it is what one leaves that was never stopped."""
    done = forked("resume=sweep", TOGETHER, before=before)
    assert done.code == 1
    errors = done.err.splitlines()
    assert len(errors) == len(DIVERGE), done.err
    assert all("became infinite or NaN" in line for line in errors)
    assert differing(forked.cwd / "sweep", whole) == []


def test_all_is_as_one_by_one(whole: Path, forked: Forked) -> None:
    """The jobs that fail leave the same as well."""
    assert forked(*TWELVE, "sweep.together=off").code == 1
    assert differing(forked.cwd / "sweep", whole) == []


def kill_all(
    forked: Forked, random: Random, longest: float, *words: str, before: Before = os.setpgrp
) -> bool:
    """Kill a sweep with its groups after a random time; say whether it was still there."""
    with forked.start(*words, TOGETHER, before=before) as started:
        pid = started.process.pid
        assert pid is not None
        started.process.join(random.uniform(0.0, longest))
        was_there = started.process.is_alive()
        if was_there and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    return was_there


def test_killed_at_some_instants(whole: Path, forked: Forked) -> None:
    seed = fresh_seed()
    random = Random(seed)
    kills = [kill_all(forked, random, 1.5, *TWELVE) for _ in range(2)]
    if not (forked.cwd / "sweep" / "sweep.yaml").exists():
        forked(*TWELVE, TOGETHER)
    assert any(kills), seed
    check_ended(forked, whole)


def on_a_gpu() -> None:
    os.setpgrp()
    pretend_a_gpu()


@pytest.fixture(scope="module")
def whole_on_a_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``whole``; learning rates on a GPU have fewer bits."""
    folder = tmp_path_factory.mktemp("on_a_gpu")
    assert Forked(folder)(*TWELVE, TOGETHER, before=on_a_gpu).code == 1
    assert statuses(folder / "sweep") == ENDED
    return folder / "sweep"


@pytest.mark.parametrize("trial", [0, *slow(range(1, 8))])
def test_killed_while_a_gpu_takes_steps_in_one_pass(
    trial: int, whole_on_a_gpu: Path, forked: Forked
) -> None:
    random = Random(fresh_seed())
    while random.random() < 0.7:
        kill_all(forked, random, 4.0, *TWELVE, before=on_a_gpu)
    if not (forked.cwd / "sweep" / "sweep.yaml").exists():
        forked(*TWELVE, TOGETHER, before=on_a_gpu)
    check_ended(forked, whole_on_a_gpu, on_a_gpu)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(20))
def test_killed_at_many_instants(trial: int, whole: Path, forked: Forked) -> None:
    """And each sweep several times, while it begins and while it resumes."""
    random = Random(fresh_seed())
    while random.random() < 0.7:
        kill_all(forked, random, 3.0, *TWELVE)
    if not (forked.cwd / "sweep" / "sweep.yaml").exists():
        forked(*TWELVE, TOGETHER)
    check_ended(forked, whole)


def kill_a_group(forked: Forked, random: Random, longest: float) -> int:
    """Kill a group's process again and again while a sweep runs; give the number of kills."""
    kills = 0
    with forked.start(*TWELVE, TOGETHER) as started:
        pid = started.process.pid
        while started.process.is_alive():
            started.process.join(random.uniform(0.0, longest))
            for child in children(pid)[:1] if started.process.is_alive() else []:
                os.kill(child, signal.SIGKILL)
                kills += 1
                longest *= 2
        done = started.wait()
    assert done.code == 1
    assert done.err.count("was killed by SIGKILL") <= kills
    return kills


def test_a_group_that_is_killed(whole: Path, forked: Forked) -> None:
    sweep = forked.cwd / "sweep"
    with forked.start(*TWELVE, TOGETHER) as started:
        (group,) = groups(started)
        started.until(all_at_work(sweep, 12))
        os.kill(group, signal.SIGKILL)
        done = started.wait()
    (line,) = [line for line in done.err.splitlines() if "infinite" not in line]
    assert line.startswith("error in the sweep: the process of 1")
    assert line.endswith(
        " jobs was killed by SIGKILL, as the system does when memory ends; they go on in two halves"
    )
    assert done.code == 1
    assert differing(sweep, whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(20))
def test_groups_that_are_killed(trial: int, whole: Path, forked: Forked) -> None:
    """A job that was alone when its process was killed has failed, and is tried again."""
    kill_a_group(forked, Random(fresh_seed()), 3.0)
    check_ended(forked, whole)


def test_a_job_that_kills_its_process(whole: Path, forked: Forked) -> None:
    before = partial(at_step_of, 4, 7, partial(send, signal.SIGKILL))
    done = forked(*TWELVE, TOGETHER, before=before)
    assert done.code == 1
    *_, failure = [line for line in done.err.splitlines() if line.startswith("error in job 4_")]
    assert "its process was killed by SIGKILL, as the system does when memory ends" in failure
    assert failure.endswith("; resume with: sae-train resume=sweep")
    expected = list(ENDED)
    expected[4] = "failed"
    assert statuses(forked.cwd / "sweep") == expected
    check_ended(forked, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_sweep_that_is_stopped(number: signal.Signals, whole: Path, forked: Forked) -> None:
    """By a signal to its first process; the groups save, and say nothing."""
    sweep = forked.cwd / "sweep"
    with forked.start(*TWELVE, TOGETHER, "epochs=5000") as started:
        started.until(lambda: all_at_work(sweep, 12)() and statuses(sweep).count("failed") == 2)
        started.send_signal(number)
        done = started.wait()
    assert done.code == 128 + number
    *_, line = done.err.splitlines()
    assert line == (
        f"stopped by {number.name}: the other jobs wait; resume with: sae-train resume=sweep"
    )
    assert statuses(sweep) == [{"finished": "interrupted"}.get(s, s) for s in ENDED]
    assert not any(map(is_locked, [sweep, *sweep.glob("[0-9]*_*")]))
    assert [*sweep.glob("**/*.tmp")] == [*sweep.glob("**/.lock")] == []


def test_a_second_ctrl_c_stops_at_once(whole: Path, forked: Forked) -> None:
    """A terminal sends both to all processes; what was being written is not completed."""
    before = partial(at_step_of, 4, 7, partial(to_all, signal.SIGINT, 2), 1)
    with forked.start(*TWELVE, TOGETHER, before=partial(in_a_group, before)) as started:
        done = started.wait()
    assert done.code == 130
    assert done.err.splitlines()[-1].startswith("stopped by SIGINT: the other jobs wait")
    sweep = forked.cwd / "sweep"
    assert not any(map(is_locked, [sweep, *sweep.glob("[0-9]*_*")]))
    assert "running" not in statuses(sweep)
    check_ended(forked, whole)


def in_a_group(before: Before) -> None:
    """Be the first of a group of processes, as a shell's commands are."""
    os.setpgrp()
    before()


def to_all(number: int, times: int) -> None:
    """Send this group of processes a signal."""
    for _ in range(times):
        os.killpg(0, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_group_that_is_stopped(number: signal.Signals, whole: Path, forked: Forked) -> None:
    """Its jobs are saved, and the sweep does not begin them again."""
    before = partial(at_step_of, 4, 7, partial(send, number), 1)
    done = forked(*TWELVE, TOGETHER, before=before)
    assert done.code == 1
    assert done.out.splitlines()[-1] == "resume with: sae-train resume=sweep"
    found = statuses(forked.cwd / "sweep")
    assert found[4] == "interrupted" and {*found} <= {"interrupted", "failed", "finished"}
    check_ended(forked, whole)


def test_a_signal_while_a_group_begins(forked: Forked) -> None:
    """A process that was just forked has the handlers of the one that forked it."""
    done = forked(*TWELVE, TOGETHER, "epochs=5000", before=stopped_at_fork)
    assert done.code == 1
    assert {*statuses(forked.cwd / "sweep")} <= {None, "interrupted"}


def stopped_at_fork() -> None:
    """Have a group be stopped as soon as it is there."""
    os.register_at_fork(after_in_child=partial(send, signal.SIGTERM))


def test_groups_end_with_their_sweep(whole: Path, forked: Forked) -> None:
    """They notice within a second that it was killed; until then the sweep is in use."""
    sweep = forked.cwd / "sweep"
    with forked.start(*TWELVE, TOGETHER, "epochs=5000") as started:
        started.until(all_at_work(sweep, 12))
        started.process.kill()
        assert started.wait().code == -signal.SIGKILL
        done = forked("resume=sweep")
        assert (done.code, "is in use by process" in done.err) == (75, True)
    while is_locked(sweep):
        time.sleep(0.05)
    assert "running" not in statuses(sweep)


def test_results_that_find_no_room(forked: Forked) -> None:
    """The sweep ends, and no job is left at work."""
    with forked.start(*TWELVE, TOGETHER, "epochs=5000", before=no_room_for_results) as started:
        done = started.wait()
    assert done.code == 4
    assert "results.csv: No space left on device" in done.err
    assert not is_locked(forked.cwd / "sweep")
    assert {*statuses(forked.cwd / "sweep")} <= {"failed", "interrupted"}


def no_room_for_results() -> None:
    """Have the results of a sweep find no room once jobs are at work."""

    def fail(sweep: Sweep) -> Never:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(sweep.path / "results.csv"))

    patch = KEPT.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(sweep_groups, "write_results", fail)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (limits.no_fork, "Resource temporarily unavailable"),
        (limits.no_watching_thread, "can't start new thread"),
    ],
)
def test_a_group_that_cannot_begin(cause: Before, said: str, whole: Path, forked: Forked) -> None:
    done = forked(*TWELVE, TOGETHER, before=cause)
    assert done.code == 1
    assert [said in line for line in done.err.splitlines()] == [True] * 12
    assert statuses(forked.cwd / "sweep") == ["failed"] * 12
    check_ended(forked, whole)

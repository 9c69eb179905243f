"""What a launcher is sent: jobs by themselves, or groups that train side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sae_cli.commands import launch
from sae_cli.commands.launch import launcher_of
from sae_cli.core.errors import ConfigError
from sae_cli.runs.sweeps.jobs import run_job
from sae_cli.runs.sweeps.sent import run_alone, to_send, train_together
from sae_cli.runs.sweeps.side_by_side import MOST_IN_GROUP
from sae_cli.runs.sweeps.sweep import Sweep, sweep_of
from tests.conftest import SMALL, Configure
from tests.forked import Forked


def sweep(configure: Configure, path: Path, n: int, *words: str) -> Sweep:
    configs = [configure(*SMALL, "pictures=false", *words, f"seed={seed}") for seed in range(n)]
    return sweep_of(path, [[f"seed={seed}"] for seed in range(n)], configs, threads=1)


def test_without_groups_each_job_is_sent(configure: Configure, tmp_path: Path) -> None:
    jobs = sweep(configure, tmp_path, 3)
    assert to_send(jobs, [0, 2], None) == ([[0], [2]], run_alone)


@pytest.mark.parametrize(
    ("n", "at_a_time", "sizes"), [(3, 1, [3]), (3, 2, [1, 2]), (20, 1, [10, 10]), (2, 8, [1, 1])]
)
def test_groups_are_as_few_as_run_at_a_time(
    n: int, at_a_time: int, sizes: list[int], configure: Configure, tmp_path: Path
) -> None:
    groups, work = to_send(sweep(configure, tmp_path, n), range(n), at_a_time)
    assert work is train_together
    assert sorted(map(len, groups)) == sizes
    assert sorted(number for group in groups for number in group) == [*range(n)]
    assert max(map(len, groups)) <= MOST_IN_GROUP


def test_what_cannot_train_side_by_side_is_sent_by_itself(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = sweep(configure, tmp_path, 2, "device.threads=2")
    assert to_send(jobs, [0, 1], 1) == ([[0], [1]], run_alone)
    assert capsys.readouterr().out == (
        "each job is sent by itself, because device.threads gives each more than one thread\n"
    )


def test_what_finished_before_is_not_sent_again(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = sweep(configure, tmp_path, 3)
    run_job(jobs, 1)
    capsys.readouterr()
    assert to_send(jobs, range(3), 1) == ([[0, 2]], train_together)
    assert capsys.readouterr().out == (
        "1 job finished before\n"
        "2 jobs in 1 group, each on one core; train.log has what each job says\n"
    )


@pytest.mark.parametrize("group", [[0, 2], [1]])
def test_a_group_is_trained(
    group: list[int], configure: Configure, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What its process says is how far the sweep is, but the last, which its caller does."""
    jobs = sweep(configure, tmp_path, 3)
    jobs.write()
    train_together(jobs, group)
    said = capfd.readouterr().out.splitlines()
    assert all(line.startswith("1 of 3 jobs done") for line in said)
    assert [n for n, path in enumerate(jobs.folders) if path.exists()] == group


@pytest.mark.parametrize(
    ("name", "elsewhere"), [("joblib", False), ("submitit_local", False), ("basic", False)]
)
def test_launchers_of_this_machine(name: str, elsewhere: bool) -> None:
    assert launcher_of([f"hydra/launcher={name}"], None, "auto").elsewhere is elsewhere


def test_a_launcher_of_other_machines() -> None:
    assert launcher_of(["hydra/launcher=ray"], None, "auto").elsewhere


def test_options_of_joblib_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.n_jobs=0: needed: .* 1 or more"):
        launcher_of(["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], None, "auto")


@pytest.mark.parametrize("given", [1, 3, -1, -2, -9])
def test_how_many_jobs_joblib_runs_at_a_time(given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    monkeypatch.setattr(launch, "AVAILABLE_THREADS", joblib.cpu_count())
    config = OmegaConf.create({"hydra": {"launcher": {"n_jobs": given}}})
    assert launch._at_a_time(config) == joblib.effective_n_jobs(given)


@pytest.mark.slow
def test_a_launcher_in_this_process(tmp_path: Path) -> None:
    forked = Forked(tmp_path)
    words = ("-m", *SMALL, "pictures=false", "report=false", "model=sparse_kl", "seed=0,1,2")
    given = ("sweep.together=on", "hydra/launcher=basic", "hydra.sweep.dir=sweep")
    done = forked(*words, *given)
    assert (done.code, done.err) == (0, "")
    assert "3 jobs in 1 group, each on one core" in done.out
    assert done.out.count("train.log") == 1
    assert "3 of 3 jobs finished" in done.out

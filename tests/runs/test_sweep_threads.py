"""The threads of a sweep: decided once, whoever runs its jobs and whenever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sae_cli.assembly import compute
from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.core.errors import ConfigError
from sae_cli.runs.sweeps import queued_job
from sae_cli.runs.sweeps.jobs import OneByOne
from sae_cli.runs.sweeps.running import run_sweep
from sae_cli.runs.sweeps.sent import run_alone
from sae_cli.runs.sweeps.sweep import Sweep, read_sweep, sweep_of
from tests.conftest import SMALL, Configure, fresh_command
from tests.forked import start

# A step of this network is long enough for more than one thread.
LONG = ("model=ae", "batch_size=97", "architecture.n_latents=3000", "pictures=false", *SMALL)


def rewrite(sweep: Path, **changes: Any) -> None:
    """Change what a sweep's page says; None removes it."""
    page = yaml.safe_load((sweep / "sweep.yaml").read_text()) | changes
    kept = {key: value for key, value in page.items() if value is not None}
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(kept))


def test_jobs_take_the_threads_of_their_sweep(configure: Configure, tmp_path: Path) -> None:
    overrides = [["seed=0"], ["seed=1", "device.threads=2"], ["seed=2", "batch_size=1"]]
    configs = [configure(*LONG, *words) for words in overrides]
    assert run_sweep(sweep_of(tmp_path, overrides, configs, threads=3), OneByOne()) == 0
    pages = [yaml.safe_load(path.read_text()) for path in sorted(tmp_path.glob("*/config.yaml"))]
    # What a job's own configuration says, or the shortness of its steps, comes first.
    assert [page["device"]["threads"] for page in pages] == [3, 2, 1]


def test_a_sweep_given_again_keeps_its_threads(configure: Configure, tmp_path: Path) -> None:
    config = configure(*LONG)
    sweep_of(tmp_path, [[]], [config], threads=3).write()
    assert run_sweep(sweep_of(tmp_path, [[]], [config], threads=2), OneByOne()) == 0
    page = yaml.safe_load((tmp_path / "0" / "config.yaml").read_text())
    assert page["device"]["threads"] == 3


def test_a_sweep_of_an_earlier_version_is_read(configure: Configure, tmp_path: Path) -> None:
    """It leaves the threads to each job, as one on other machines does."""
    sweep_of(tmp_path, [[]], [configure(*LONG)], threads=3).write()
    rewrite(tmp_path, threads=None)
    sweep = read_sweep(tmp_path)
    assert sweep.threads is None
    assert run_sweep(sweep, OneByOne()) == 0
    page = yaml.safe_load((tmp_path / "0" / "config.yaml").read_text())
    assert page["device"]["threads"] == AVAILABLE_THREADS


def queued(sweep: Sweep) -> None:
    """Be a process that may use three cores."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (compute, queued_job):
            patch.setattr(module, "AVAILABLE_THREADS", 3)
        queued_job.QueuedJob(sweep, [0], run_alone)()


def run_queued(sweep: Sweep) -> None:
    """Run a job as a queue does, in a process that has not computed: a fork takes no threads."""
    process = start(queued, sweep)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({}, 3),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "1000"}, 3),
        ({"SLURM_CPUS_ON_NODE": "1000", "SLURM_CPUS_PER_TASK": "1"}, 1),
    ],
)
def test_a_job_of_a_queue_takes_the_cores_that_it_has(
    given: dict[str, str],
    threads: int,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its page names them, so that it is resumed and reproduced with as many."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    sweep = sweep_of(tmp_path, [[]], [configure(*LONG)], threads=None)
    sweep.write()
    run_queued(sweep)
    page = yaml.safe_load((tmp_path / "0" / "config.yaml").read_text())
    assert page["device"]["threads"] == threads
    assert "threads" not in yaml.safe_load((tmp_path / "sweep.yaml").read_text())


def test_a_job_of_a_queue_keeps_the_threads_of_its_sweep(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one that was begun on a single machine."""
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    sweep = sweep_of(tmp_path, [[]], [configure(*LONG)], threads=2)
    run_queued(sweep)
    page = yaml.safe_load((tmp_path / "0" / "config.yaml").read_text())
    assert page["device"]["threads"] == 2


@pytest.mark.parametrize("threads", [0, -1, 5000, 1.5, "2", True, [1]])
def test_threads_that_cannot_be(threads: Any, configure: Configure, tmp_path: Path) -> None:
    sweep_of(tmp_path, [[]], [configure()]).write()
    rewrite(tmp_path, threads=threads)
    with pytest.raises(ConfigError, match=r"damaged \(threads must be a number from 1"):
        read_sweep(tmp_path)


@pytest.mark.slow
def test_the_launcher_changes_no_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bits of these steps depend on the number of threads, and joblib's workers have one."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = ("model=conv", "dataset=mnist_5k", "batch_size=512", "epochs=1", "pictures=false")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    run = fresh_command(tmp_path)
    for folder, more in (("one", ()), ("two", parallel)):
        done = run(*words, "-m", "seed=0,1", f"hydra.sweep.dir={folder}", *more)
        assert done.returncode == 0, done.stderr
    (tmp_path / "resumed").mkdir()
    (tmp_path / "resumed" / "sweep.yaml").write_bytes((tmp_path / "two/sweep.yaml").read_bytes())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run("resume=resumed").returncode == 0
    one, two, resumed = (
        [path.read_bytes() for path in sorted((tmp_path / name).glob("*/model.safetensors"))]
        for name in ("one", "two", "resumed")
    )
    assert len(one) == 2
    assert one == two == resumed

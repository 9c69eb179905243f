"""Sweeps whose jobs train side by side: each job's folder is what it leaves alone."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from sae_cli.run_folder.checkpoints import unpack
from sae_cli.runs.sweeps import side_by_side
from sae_cli.runs.sweeps.side_by_side import MOST_IN_GROUP, divide, network, why_not
from sae_cli.runs.sweeps.sweep import Sweep, sweep_of
from tests.conftest import SMALL, Configure, slow
from tests.contracts.small import MODELS
from tests.faults.causes import KEPT
from tests.faults.sweeps import groups
from tests.forked import Forked
from tests.killing import results
from tests.plugins import write_documented

BITS = ("model.safetensors", "metrics.jsonl", "config.yaml")
# The steps of the first two are stacked, those of the third are not.
SOME = ("sparse_kl", "stacked", "vae")
QUIET = ("pictures=false", "report=false")
MIXED = (
    ("model=sparse_l1", "optimizer=adam,sgd,nadam", "optimizer.learning_rate=0.01,0.1"),
    ("model=denoising", "corruption.std=0.1,0.5", "lr_schedule=constant,cosine"),
    ("model=sparse_kl", "architecture.n_latents=5,16", "batch_size=8,32,97"),
    ("model=ae", "epochs=1,2,3", "clip_norm=null,0.01", "activation=relu,gelu"),
)


@pytest.fixture
def forked(tmp_path: Path) -> Forked:
    return Forked(tmp_path)


def train_both_ways(forked: Forked, *words: str) -> tuple[list[Path], list[Path]]:
    """Run a sweep side by side and one by one; give the folders of both, in order."""
    folders = []
    for together in ("on", "off"):
        given = (f"sweep.together={together}", f"hydra.sweep.dir={together}")
        done = forked("-m", *SMALL, *QUIET, "device.threads=1", *words, *given)
        assert done.err == ""
        assert ("side by side" in done.out) == (together == "on")
        jobs = [path for path in (forked.cwd / together).iterdir() if path.is_dir()]
        folders.append(sorted(jobs, key=lambda path: int(path.name.split("_")[0])))
    return folders[0], folders[1]


def assert_alike(one: Sequence[Path], other: Sequence[Path]) -> None:
    assert [path.name for path in one] == [path.name for path in other]
    for mine, theirs in zip(one, other, strict=True):
        for name in BITS:
            assert (mine / name).read_bytes() == (theirs / name).read_bytes(), (mine.name, name)
        states = [(p / "checkpoints" / "last.pt").read_bytes() for p in (mine, theirs)]
        assert len(states[0]) == len(states[1])
        first, second = (unpack(state, "last.pt") for state in states)
        assert all(torch.equal(value, second.model[key]) for key, value in first.model.items())
        for key, tensors in first.optimizer.items():
            assert all(map(torch.equal, tensors, second.optimizer[key]))


@pytest.mark.parametrize("model", [*SOME, *slow(sorted({*MODELS} - {*SOME}))])
def test_each_job_has_the_bits_that_it_has_alone(model: str, forked: Forked) -> None:
    words = (f"model={model}", "epochs=2", "seed=0,1,2", "batch_size=13")
    assert_alike(*train_both_ways(forked, *words))


@pytest.mark.parametrize(
    "words",
    [
        ("model=sparse_kl", "penalty.weight=0,0.1,3", "penalty.target=0.05,0.3"),
        *slow(MIXED),
    ],
    ids=" ".join,
)
def test_jobs_that_differ_in_much(words: Sequence[str], forked: Forked) -> None:
    assert_alike(*train_both_ways(forked, *words))


def test_the_log_says_which_steps_are_a_jobs_own_and_why(forked: Forked) -> None:
    words = ("model=conv,sparse_kl", "seed=0,1", "epochs=2", "sweep.together=on")
    forked("-m", *SMALL, *QUIET, *words, "device.threads=1", "hydra.sweep.dir=sweep")
    logs = [p.read_text() for p in sorted((forked.cwd / "sweep").glob("*/train.log"))]
    said = [text.count("steps are computed apart from those of other jobs") for text in logs]
    assert said == [1, 1, 0, 0]
    assert all("they are mostly convolutions" in text for text in logs[:2])


def test_a_job_that_diverges_leaves_the_others_alone(forked: Forked) -> None:
    words = ("model=sparse_kl", "optimizer.learning_rate=0.01,1e30,0.1")
    folders = {}
    for together in ("on", "off"):
        given = (f"sweep.together={together}", f"hydra.sweep.dir={together}")
        done = forked("-m", *SMALL, *QUIET, *words, *given)
        assert done.code == 1
        assert "became infinite or NaN at step" in done.err
        folders[together] = sorted((forked.cwd / together).glob("[0-9]*"))
    status = [json.loads((p / "status.json").read_text()) for p in folders["on"]]
    assert [one["status"] for one in status] == ["finished", "failed", "finished"]
    assert status[1] == json.loads((folders["off"][1] / "status.json").read_text()) | {
        key: status[1][key] for key in status[1] if key not in {"status", "error"}
    }
    assert_alike(folders["on"][::2], folders["off"][::2])


@pytest.mark.slow
def test_results_and_pictures_are_the_same(forked: Forked) -> None:
    found = []
    for together in ("on", "off"):
        given = (f"sweep.together={together}", f"hydra.sweep.dir={together}")
        assert forked("-m", *SMALL, "model=sparse_kl", "seed=0,1", *given).code == 0
        folder = forked.cwd / together
        pictures = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.glob("*/pictures/**/*.png")
        }
        found.append(((folder / "results.csv").read_bytes(), pictures))
    assert len(found[0][1]) > 10
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed=0,1,2,3",), "4 jobs side by side on"),
        (("seed=0,1,2",), "job 1 (3 in all): "),
        (("seed=0,1,2,3", "sweep.together=off"), "job 1 (4 in all): "),
        (("seed=0,1", "sweep.together=on"), "2 jobs side by side on"),
        (("seed=0,1", "device.threads=2", "sweep.together=on"), "because device.threads gives"),
    ],
    ids=str,
)
def test_where_it_pays(words: Sequence[str], said: str, forked: Forked) -> None:
    done = forked("-m", *SMALL, *QUIET, "model=ae", *words)
    assert (done.code, done.err) == (0, "")
    assert said in done.out


def test_long_steps_keep_the_threads_of_their_sweep(configure: Configure, tmp_path: Path) -> None:
    configs = [configure("batch_size=97", f"architecture.n_latents={n}") for n in (8, 3000)]
    reasons = [
        why_not(sweep_of(tmp_path, [[]], [config], threads))
        for config in configs
        for threads in (1, 4)
    ]
    assert reasons[:3] == [None, None, None]
    assert (
        reasons[3] == "their steps are long, and take 4 threads (begun with sweep.together=on: one)"
    )


def test_long_steps_side_by_side_take_one_thread_each(forked: Forked) -> None:
    words = ("model=ae", "seed=0,1", "batch_size=97", "architecture.n_latents=3000")
    given = ("sweep.together=on", "hydra.sweep.dir=sweep")
    assert forked("-m", *SMALL, *QUIET, *words, *given).code == 0
    for page in (forked.cwd / "sweep").glob("*/config.yaml"):
        assert yaml.safe_load(page.read_text())["device"]["threads"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "seed=0,1", "sweep.together=yes"), "choose one of auto, on, off"),
        (("sweep.together=on",), "is about the jobs of a sweep; add -m"),
    ],
)
def test_what_is_refused(words: Sequence[str], said: str, forked: Forked) -> None:
    done = forked(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.error
    assert not [*forked.cwd.iterdir()]


@pytest.mark.parametrize(("n_jobs", "n_groups"), [(1, 1), (2, 2), (7, 3), (48, 3), (49, 6)])
def test_groups(n_jobs: int, n_groups: int, configure: Configure, tmp_path: Path) -> None:
    """As many for each core, none too large, and like networks together."""
    configs = [configure(f"architecture.n_latents={16 + i % 2}") for i in range(n_jobs)]
    sweep: Sweep = sweep_of(tmp_path, [[]] * n_jobs, configs)
    groups = divide(sweep, range(n_jobs), n_cores=3)
    assert sorted(n for group in groups for n in group) == [*range(n_jobs)]
    assert len(groups) == n_groups
    assert max(map(len, groups)) <= min(MOST_IN_GROUP, min(map(len, groups)) + 1)
    mixed = [g for g in groups if len({network(configs[n]) for n in g}) > 1]
    assert len(mixed) <= 1


def test_groups_on_a_gpu_are_larger(configure: Configure, tmp_path: Path) -> None:
    for n_jobs, sizes in ((128, [128]), (129, [64, 65])):
        sweep = sweep_of(tmp_path, [[]] * n_jobs, [configure()] * n_jobs)
        assert [*map(len, divide(sweep, range(n_jobs), 1, on_gpu=True))] == sizes


def pretend_a_gpu() -> None:
    """Send groups where a GPU would compute; for a ``before``."""
    patch = KEPT.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(side_by_side, "on_gpu", lambda sweep: True)
    patch.setattr(side_by_side, "_why_not_on_gpu", lambda sweep: None)


def test_a_group_of_a_gpu_is_a_process_that_was_not_forked(forked: Forked, tmp_path: Path) -> None:
    """It has its plug-ins from anew, is interrupted and resumed, and leaves each job as alone."""
    write_documented(tmp_path)
    own = ("--plugin", "my_parts.py")
    words = (
        "--config-dir",
        "pages",
        *SMALL,
        *QUIET,
        "penalty=huber",
        "model=sparse_l1",
        "seed=0,1,2",
        "epochs=40",
    )
    on = ("sweep.together=on", "hydra.sweep.dir=on")
    with forked.start("-m", *own, *words, *on, before=pretend_a_gpu) as started:
        started.until(lambda: len([*tmp_path.glob("on/*/metrics.jsonl")]) == 3)
        started.send_signal(signal.SIGINT)
        done = started.wait()
    assert done.code == 130
    assert "3 jobs side by side in one pass on a GPU; train.log has what each says" in done.out
    assert "stopped by SIGINT: the other jobs wait; resume with: " in done.err
    assert forked(*own, "resume=on", before=pretend_a_gpu).code == 0
    alone = ("device.threads=1", "sweep.together=off", "hydra.sweep.dir=off")
    assert forked("-m", *own, *words, *alone).code == 0
    folders = [sorted((tmp_path / name).glob("*/")) for name in ("on", "off")]
    for one, other in zip(*folders, strict=True):
        assert results(one) == results(other)


@pytest.mark.slow
def test_a_group_of_a_gpu_that_is_interrupted_as_it_begins(forked: Forked) -> None:
    """It imports all anew at first, and meets the signal after that."""
    words = ("-m", *SMALL, *QUIET, "model=ae", "seed=0,1", "epochs=300", "sweep.together=on")
    with forked.start(*words, before=pretend_a_gpu) as started:
        groups(started)
        started.send_signal(signal.SIGINT)
        done = started.wait()
    assert done.code == 130
    assert done.err.startswith("stopped by SIGINT: the other jobs wait; resume with: ")


@pytest.mark.parametrize(
    ("words", "threads", "reason"),
    [
        ((), 1, None),
        ((), None, "begun with sweep.together=on: in one pass"),
        (("profile=true",), 1, "profile=true looks at one alone"),
        (("device.precision=bfloat16",), 1, None),
    ],
)
def test_where_a_gpu_takes_jobs_in_one_pass(
    words: Sequence[str],
    threads: int | None,
    reason: str | None,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is built before that, which would begin to compute on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(side_by_side, "build_training", None)
    config = configure("device=cpu", *words)
    parts = config.parts | {"device": config.parts["device"] | {"name": "cuda"}}
    found = why_not(sweep_of(tmp_path, [[]], [replace(config, parts=parts)], threads))
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)

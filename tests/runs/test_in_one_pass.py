"""Runs whose steps a GPU takes in one pass, on pretended CUDA graphs: each as it is alone."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
import torch

from sae_cli.assembly.data import read_once
from sae_cli.config.schema import RunConfig
from sae_cli.core.company import run_side_by_side
from sae_cli.core.errors import DivergedError, Stopped
from sae_cli.core.signals import stopping_together
from sae_cli.datasets import Split
from sae_cli.datasets.batch_rows import LONGEST, BatchRows
from sae_cli.model.objective import Terms
from sae_cli.run_folder.layout import status_of
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.saver import Saver
from sae_cli.training import in_one_pass
from sae_cli.training.in_one_pass import Brought, pass_all
from sae_cli.training.update import Update
from tests.conftest import Configure, slow
from tests.killing import results
from tests.runs.test_captured_runs import ON_CPU, SMALL, as_on_a_gpu
from tests.training.cuda_graphs import Graph
from tests.training.test_step import make_step

CASES = {
    "weights": ("model=sparse_kl", ["penalty.weight=0.1", "penalty.weight=3", "seed=5"]),
    "rates": (
        "model=denoising batch_size=4",
        ["lr_schedule=cosine", "optimizer.learning_rate=0.01", "clip_norm=0.1", "epochs=2"],
    ),
    "samples": ("model=vae optimizer=adamw", ["seed=1", "seed=2", "optimizer.weight_decay=0.1"]),
    "labels": ("model=ae head=classifier", ["seed=1", "head.n_labels=30", "head.weight=0.1"]),
    "norms": ("model=ae unit_norm=true", ["seed=1", "seed=2"]),
    "lines": ("model=ae batch_size=4", ["seed=1", "log_steps=9", "optimizer.learning_rate=0.003"]),
    "resampled": (
        "model=topk batch_size=4 revival=resample revival.every=20 revival.dead_after=20",
        ["seed=1", "activation.k=3", "activation=batch_topk"],
    ),
}
MORE = {
    "auxk": ("model=topk revival=auxk revival.dead_after=40", ["seed=1", "seed=2"]),
    "stages": ("model=stacked corruption=masking", ["seed=1", "seed=2", "epochs=3"]),
    "kinds": ("model=ae", ["architecture.n_latents=16", "activation=relu", "model=tied"]),
    "layers": ("model=conv", ["seed=1", "seed=2"]),
    "nadam": ("model=tied optimizer=nadam", ["seed=1", "lr_schedule=linear_decay"]),
}


def train_in_one_pass(configs: Sequence[RunConfig], folder: Path) -> None:
    def train(i: int) -> None:
        begin_or_resume(configs[i], folder / str(i), [])

    with read_once(), stopping_together():
        run_side_by_side([partial(train, i) for i in range(len(configs))])


def train_alone(configs: Sequence[RunConfig], folder: Path) -> list[int]:
    """Train each; give how many operations its longest graph repeats."""
    sizes = []
    for i, config in enumerate(configs):
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch, captured=True)
            begin_or_resume(config, folder / str(i), [])
            sizes.append(max(len(graph.operations) for graph in Graph.made))
    return sizes


def assert_alike(one: Path, other: Path, n: int) -> None:
    for i in range(n):
        assert results(one / str(i)) == results(other / str(i)), i


@pytest.mark.parametrize("case", [*CASES, *slow(MORE)])
def test_each_run_has_the_bits_that_it_has_alone(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = (CASES | MORE)[case]
    configs = [configure(*SMALL, *shared.split(), *ON_CPU, one) for one in own]
    train_alone(configs, tmp_path / "alone")
    as_on_a_gpu(monkeypatch, captured=True)
    train_in_one_pass(configs, tmp_path / "together")
    assert sum(graph.replays for graph in Graph.made) >= 6
    assert_alike(tmp_path / "alone", tmp_path / "together", len(configs))


@pytest.fixture
def eight(configure: Configure) -> list[RunConfig]:
    words = (*SMALL, *ON_CPU, "model=sparse_kl", "batch_size=4")
    return [configure(*words, f"penalty.weight={weight}") for weight in range(8)]


def test_further_trainings_add_no_launches(eight: Sequence[RunConfig], tmp_path: Path) -> None:
    """A stretch of sixteen steps is one graph; the sums and the rows of all are taken at once."""
    sizes = []
    for n in (1, 2, 8):
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch, captured=True)
            train_in_one_pass(eight[:n], tmp_path / str(n))
            # One graph is of a step, the other of a stretch of them.
            assert len(Graph.made) == 2
            sizes.append(max(len(graph.operations) for graph in Graph.made) / LONGEST)
    alone, two, all_eight = sizes
    assert 20 < alone <= two <= alone + 5
    assert all_eight == two


def test_some_that_are_ahead_and_some_that_stop(
    eight: Sequence[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings that are resumed at different steps come apart, and keep their bits."""
    train_alone(eight[:4], tmp_path / "alone")
    left = {"0": [9, 70], "1": [70], "2": [33, 70], "3": [50, 70]}
    after_step = Saver.after_step

    def stop(self: Saver, terms: Terms, n: int) -> None:
        own = left[self._run.folder.path.name]
        if own and self._run.progress.step + n >= own[0]:
            own.pop(0)
            self._run.stop.number = signal.SIGTERM
        after_step(self, terms, n)

    monkeypatch.setattr(Saver, "after_step", stop)
    as_on_a_gpu(monkeypatch, captured=True)
    for i in (0, 2, 3):
        with pytest.raises(Stopped):
            begin_or_resume(eight[i], tmp_path / "together" / str(i), [])
    while any(left.values()):
        with pytest.raises(Stopped):
            train_in_one_pass(eight[:4], tmp_path / "together")
    train_in_one_pass(eight[:4], tmp_path / "together")
    assert_alike(tmp_path / "alone", tmp_path / "together", 4)


def test_one_that_diverges_leaves_the_others(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that go on become a group of their own at once."""
    words = (*SMALL, *ON_CPU, "model=ae", "epochs=6", "batch_size=4")
    configs = [configure(*words, f"optimizer.learning_rate={x}") for x in (0.001, 1e30, 0.01)]
    train_alone([configs[0], configs[2]], tmp_path / "alone")
    as_on_a_gpu(monkeypatch, captured=True)
    with pytest.raises(DivergedError):
        train_in_one_pass(configs, tmp_path / "together")
    assert status_of(tmp_path / "together" / "1") == "failed"
    (tmp_path / "alone" / "1").rename(tmp_path / "alone" / "2")
    for name in ("0", "2"):
        assert results(tmp_path / "alone" / name) == results(tmp_path / "together" / name)
    # A step of three at first, whose first stretch ran plainly; then a step and a stretch of two.
    assert len(Graph.made) == 3
    assert all(graph.replays for graph in Graph.made[1:])


@pytest.mark.parametrize("order", [*permutations(range(3))], ids=str)
def test_groups_that_form_anew(
    order: Sequence[int], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All come, then two of them for long, then all: no graph is left where weights were before."""
    as_on_a_gpu(monkeypatch, captured=True)
    monkeypatch.setattr(in_one_pass, "PATIENCE", 5)
    meetings = [*[[0, 1, 2]] * 9, *[[1, 2]] * 20, *[[0, 1, 2]] * 20, *[[0, 1]] * 20]
    found = []
    for together in (True, False):
        made: list[tuple[Update, Split]] = []
        run_side_by_side([partial(make, made, seed, configure) for seed in range(3)])
        updates = [own for own, _ in made]
        # In this order they are stacked.
        ranks = {id(own): rank for own, rank in zip(updates, order, strict=True)}
        monkeypatch.setattr(in_one_pass, "id", lambda one, of=ranks: of[id(one)], raising=False)
        for time, numbers in enumerate(meetings):
            brought = [bring(*made[i], time + 3 * i) for i in numbers]
            for own in [brought] if together else [[one] for one in brought]:
                pass_all(own)
        found.append([p.tolist() for own in updates for p in own.optimizer.parameters])
    assert found[0] == found[1]


def make(made: list[tuple[Update, Split]], seed: int, configure: Configure) -> None:
    step, data = make_step(("model=sparse_kl", "device=cpu", f"seed={seed}"), configure, 16)
    made.append((step.update, data))


def bring(update: Update, data: Split, first: int) -> Brought:
    return Brought(update, 16, (BatchRows(data, torch.arange(16) + first), None), (0.01,))

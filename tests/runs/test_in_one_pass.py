"""Runs whose steps a GPU takes in one pass, on pretended CUDA graphs: each as it is alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from sae_cli.config.schema import RunConfig
from sae_cli.core.company import run_side_by_side
from sae_cli.core.signals import stopping_together
from sae_cli.runs.resume import begin_or_resume
from tests.conftest import Configure, slow
from tests.killing import results
from tests.runs.test_captured_runs import ON_CPU, SMALL, as_on_a_gpu
from tests.training.cuda_graphs import Graph

CASES = {
    "weights": ("model=sparse_kl", ["penalty.weight=0.1", "penalty.weight=3", "seed=5"]),
    "rates": (
        "model=denoising batch_size=4",
        ["lr_schedule=cosine", "optimizer.learning_rate=0.01", "clip_norm=0.1", "epochs=2"],
    ),
    "samples": ("model=vae optimizer=adamw", ["seed=1", "seed=2", "optimizer.weight_decay=0.1"]),
    "labels": ("model=ae head=classifier", ["seed=1", "head.n_labels=30", "head.weight=0.1"]),
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

    with stopping_together():
        run_side_by_side([partial(train, i) for i in range(len(configs))])


@pytest.mark.parametrize("case", [*CASES, *slow(MORE)])
def test_each_run_has_the_bits_that_it_has_alone(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = (CASES | MORE)[case]
    words = [*SMALL, *shared.split(), *ON_CPU]
    configs = [configure(*words, one) for one in own]
    for i, config in enumerate(configs):
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch, captured=True)
            begin_or_resume(config, tmp_path / "alone" / str(i), [])
    as_on_a_gpu(monkeypatch, captured=True)
    train_in_one_pass(configs, tmp_path / "together")
    assert sum(graph.replays for graph in Graph.made) >= 6
    for i in range(len(configs)):
        assert results(tmp_path / "alone" / str(i)) == results(tmp_path / "together" / str(i))

"""Runs whose steps are captured, on pretended CUDA graphs, equal to the bit runs of plain steps."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from sae_cli.assembly import compute
from sae_cli.core.errors import Stopped
from sae_cli.model.objective import Terms
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.saver import Saver
from sae_cli.training.corruptions import Masking
from sae_cli.training.gradients.sparse import Sparse
from sae_cli.training.step import Step
from sae_cli.training.update import Update
from tests.conftest import Configure, slow
from tests.killing import results
from tests.training.cuda_graphs import Graph, pretend

# The run has 97 digits: six steps and a smaller last batch an epoch.
SMALL = ("dataset.val=20", "dataset.test=1680", "epochs=4", "batch_size=16", "pictures=false")
ON_CPU = ("device=cpu", "report=false", "compile=off")

CASES = {
    "noise": ("model=denoising", "optimizer=sgd", "optimizer.momentum=0.9"),
    "labels": ("model=ae", "head=classifier", "head.n_labels=30"),
    "samples": ("model=vae", "optimizer=adamw", "lr_schedule=cosine", "clip_norm=0.5"),
    "auxk": ("model=topk", "revival=auxk", "revival.dead_after=40"),
    "resampled": ("model=topk", "revival=resample", "revival.every=3", "revival.dead_after=20"),
    "target_l0": ("model=jumprelu", "penalty.target_l0=5", "lr_schedule.warmup_steps=9"),
    "stages": ("model=stacked", "corruption=masking"),
    "stretches": ("model=denoising", "batch_size=4", "lr_schedule=cosine", "optimizer=adamw"),
    "resampled in stretches": (
        "model=topk",
        "batch_size=4",
        "revival=resample",
        "revival.every=20",
        "revival.dead_after=20",
    ),
    "pairs": ("model=matryoshka", "revival=resample", "revival.every=3", "activation.k=8"),
}
# Stretches of steps have a graph of their own, and come once in an epoch, or less often.
REPLAYS = {"stretches": 3, "resampled in stretches": 1}
MORE = {
    "bfloat16": ("model=sparse_kl", "device.precision=bfloat16"),
    "unit_norm": ("model=sparse_l1", "unit_norm=true", "optimizer=rmsprop"),
    "nadam": ("model=tied", "optimizer=nadam", "lr_schedule=linear_decay"),
    "pairs of topk": ("model=topk", "revival=none", "activation.k=8", "unit_norm=true"),
}


def as_on_a_gpu(patch: pytest.MonkeyPatch, *, captured: bool, by_pairs: bool = False) -> None:
    """Take the paths of a GPU, with graphs that ``Graph.made`` has.

    Args:
        by_pairs: whether steps are to go by active pairs, as those of many pre-codes do.
    """
    init, update = Step.__init__, Update.__call__

    def build(self: Any, gradients: Any, optimizer: Any, *args: Any, **options: Any) -> None:
        optimizer._on_gpu = True
        init(self, gradients, optimizer, *args, **options)
        assert gradients.capturable and isinstance(gradients, Sparse) == by_pairs
        self.sums._kept = None
        if captured:
            self.capture()

    def plain(self: Any, values: Any, labels: Any, rate: Any, share: Any = None) -> Any:
        return update(self, values, labels, torch.as_tensor(rate), share)

    pretend(patch)
    patch.setattr(Step, "__init__", build)
    if not captured:
        patch.setattr(Update, "__call__", plain)
    patch.setattr(compute, "_sparse", lambda *_: by_pairs)
    patch.setattr(compute, "_divides", lambda *_: False)
    for name in ("rmsprop", "nadam"):
        module = sys.modules[f"torch.optim.{name}"]
        patch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])


@pytest.mark.parametrize("case", [*CASES, *slow(MORE)])
def test_captured_steps_give_the_bits_of_plain_ones(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a run that is stopped within epochs and resumed, which records them anew, do too."""
    config = configure(*SMALL, *(CASES | MORE)[case], *ON_CPU)
    by_pairs = case.startswith("pairs")
    for name in ("plain", "captured"):
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch, captured=name == "captured", by_pairs=by_pairs)
            begin_or_resume(config, tmp_path / name, [])
            graphs = Graph.made
    assert sum(graph.replays for graph in graphs) >= 6
    assert min(graph.replays for graph in graphs) >= REPLAYS.get(case, 6)
    assert results(tmp_path / "plain") == results(tmp_path / "captured")
    after_step, left = Saver.after_step, [9, 18]

    def stop(self: Saver, terms: Terms, n: int) -> None:
        if left and self._run.progress.step + n >= left[0]:
            left.pop(0)
            self._run.stop.number = signal.SIGTERM
        after_step(self, terms, n)

    monkeypatch.setattr(Saver, "after_step", stop)
    as_on_a_gpu(monkeypatch, captured=True, by_pairs=by_pairs)
    while left:
        with pytest.raises(Stopped):
            begin_or_resume(config, tmp_path / "stopped", [])
    begin_or_resume(config, tmp_path / "stopped", [])
    assert results(tmp_path / "plain") == results(tmp_path / "stopped")


WAITS = "its steps are not one CUDA graph each: they wait for the GPU at test_captured_runs.py"


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each step wait for the size of a result, in a function of PyTorch."""
    masked = Masking.__call__

    def wait(self: Masking, x: Tensor, generator: Generator) -> Tensor:
        found = x.unique()  # type: ignore[no-untyped-call]
        return masked(self, x, generator) if len(found) else x

    monkeypatch.setattr(Masking, "__call__", wait)


@pytest.mark.usefixtures("waiting")
def test_steps_that_wait_for_the_gpu_run_plainly(configure: Configure, tmp_path: Path) -> None:
    """It is said once, and changes no bit."""
    config = configure("model=denoising", "corruption=masking", *SMALL, *ON_CPU)
    for name in ("plain", "captured"):
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch, captured=name == "captured")
            begin_or_resume(config, tmp_path / name, [])
            assert not Graph.made
    assert results(tmp_path / "plain") == results(tmp_path / "captured")
    assert (tmp_path / "captured" / "train.log").read_text().count(WAITS) == 1


@pytest.mark.gpu
@pytest.mark.usefixtures("waiting")
def test_a_gpu_that_is_waited_for(configure: Configure, tmp_path: Path) -> None:
    words = ("model=denoising", "corruption=masking", *SMALL, "device=cuda", "report=false")
    begin_or_resume(configure(*words), tmp_path / "run", [])
    assert (tmp_path / "run" / "train.log").read_text().count(WAITS) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_captured_steps_of_a_gpu_give_what_plain_ones_give(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*SMALL, *CASES[case], "device=cuda", "report=false")
    begin_or_resume(config, tmp_path / "captured", [])
    assert "CUDA graph" not in (tmp_path / "captured" / "train.log").read_text()
    init = Step.__init__

    def build(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        assert self.gathers
        self._captured = None

    monkeypatch.setattr(Step, "__init__", build)
    begin_or_resume(config, tmp_path / "plain", [])
    losses = [
        [one["val/loss"] for one in read_metrics(tmp_path / x)] for x in ("captured", "plain")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)

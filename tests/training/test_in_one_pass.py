"""Several updates at once on a GPU, which is pretended by tensors without values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sae_cli.assembly.compute import _build_alone
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.config.schema import RunConfig
from sae_cli.training.gradients import batching, program, stacked
from sae_cli.training.gradients.recording import Batch, Result
from sae_cli.training.gradients.side_by_side import SideBySide
from sae_cli.training.gradients.sparse import Sparse
from sae_cli.training.in_one_pass import update_all
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer
from sae_cli.training.stage import Stage
from sae_cli.training.update import Update
from tests.conftest import Configure
from tests.training.gradients.test_sparse_on_a_gpu import GPU, move_


class WithoutNumbers:
    """PyTorch, but for numbers that go to a GPU."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def tensor(self, values: list[float], device: torch.device) -> Tensor:
        return torch.empty(len(values), device=device)


def build(config: RunConfig, stage: Stage) -> Update:
    move_(stage.autoencoder)
    gradients = SideBySide(_build_alone(config, GPU, stage), (stage.autoencoder, stage.objective))
    optimizer = OPTIMIZERS.build(config.parts["optimizer"], gradients.parameters)
    assert isinstance(optimizer, Optimizer)
    return Update(
        gradients,
        optimizer,
        stage.corruption,
        None,  # type: ignore[arg-type]
        clip_norm=config.settings.clip_norm,
        n_sampled=0,
        after=stage.objective.after_step_,
        joining=None,
    )


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize(
    "page",
    [
        ("model=sparse_kl",),
        ("model=denoising", "corruption=gaussian", "clip_norm=1"),
        ("model=ae", "corruption=masking", "activation=gelu"),
    ],
    ids=" ".join,
)
def test_a_pass_stays_on_the_gpu(
    page: tuple[str, ...], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without values raise an error where one is asked for, or two devices meet."""
    monkeypatch.setattr(program, "torch", WithoutNumbers())
    # These compare values, and all else would be found to agree.
    monkeypatch.setattr(batching, "rounds_alike", lambda *_: True)
    monkeypatch.setattr(stacked, "same", lambda one, other: one.is_cuda and other.is_cuda)
    monkeypatch.setattr(stacked, "same_results", lambda *_: True)
    replays, replay = iter(range(100)), stacked.Stacked.replay

    def count(self: stacked.Stacked, given: Sequence[Batch]) -> list[Result]:
        next(replays)
        return replay(self, given)

    monkeypatch.setattr(stacked.Stacked, "replay", count)
    # Of the optimizers this one needs no GPU for tensors without values.
    words = (*page, "optimizer=rmsprop", "device=cpu", "compile=off")
    configs = [configure(*words, f"seed={i}") for i in range(3)]
    stages = [prepare(one, build_parts(one)).training.stages[0] for one in configs]
    with FakeTensorMode():
        updates = [build(*own) for own in zip(configs, stages, strict=True)]
        rate = torch.full((), 0.1, device="cuda")
        for _ in range(5):
            given = [(torch.rand(32, 64, device="cuda"), None) for _ in updates]
            terms = update_all(updates, given, [rate] * 3)
        assert all(value.is_cuda for own in terms for value in own.values())
        assert all(one.is_cuda for own in updates for one in own.optimizer.parameters)
    # At first each is differentiated alone.
    assert next(replays) == 4


def test_what_cannot_be_captured_alone_cannot_be_with_others(configure: Configure) -> None:
    config = configure("model=topk", "revival=auxk", "device=cpu")
    (stage,) = prepare(config, build_parts(config)).training.stages
    alone = Sparse(stage.autoencoder, stage.objective)
    assert not alone.capturable
    assert not SideBySide(alone, (stage.autoencoder, stage.objective)).capturable

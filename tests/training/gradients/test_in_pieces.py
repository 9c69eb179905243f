"""Gradients of a batch piece by piece, against those of the whole batch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.training.devices import Device
from sae_cli.training.gradients import in_pieces
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import ByHand, can_differentiate
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.in_pieces import InPieces, can_divide, pieces
from sae_cli.training.stage import Stage
from tests.conftest import Configure

CPU = Device(torch.device("cpu"))
N, N_LATENTS = 37, 40


def stage(configure: Configure, *overrides: str) -> Stage:
    """The first stage of a run on digits."""
    config = configure("device=cpu", f"architecture.n_latents={N_LATENTS}", *overrides)
    return prepare(config, build_parts(config)).training.stages[0]


def test_pieces_are_as_equal_as_can_be_and_leave_nothing_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_pieces, "PIECE", 1000)
    cut = pieces(N, 100)
    assert [row for piece, _ in cut for row in range(N)[piece]] == list(range(N))
    assert [share * N for _, share in cut] == pytest.approx([10, 10, 10, 7])


@pytest.mark.parametrize(
    "model", ["sparse_l1", "jumprelu", "sparse_l1_norms", "matryoshka", "vae", "conv"]
)
def test_pieces_give_the_gradients_of_the_whole(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(in_pieces, "PIECE", N_LATENTS * 10)
    monkeypatch.setattr(in_pieces, "LARGE", 0)
    own = ["activation=topk", "activation.k=5", "revival=none"] if model == "matryoshka" else []
    made = stage(configure, f"model={model}", *own)
    autoencoder, objective = made.autoencoder.double(), made.objective.double()
    assert can_divide(autoencoder, objective, N)
    generator = Generator().manual_seed(0)
    x = torch.rand(N, 1, 8, 8, dtype=torch.float64, generator=generator)
    noise = torch.randn(N, N_LATENTS, dtype=torch.float64, generator=generator)
    whole = Autograd(autoencoder, objective, CPU)
    terms, gradients = whole(x, x, noise=noise)
    divided: list[Gradients] = [InPieces(whole, N_LATENTS)]
    if can_differentiate(autoencoder, objective):
        divided.append(ByHand(autoencoder, objective, divides=True))
    for one in divided:
        found, summed = one(x, x, noise=noise)
        assert {name: float(value) for name, value in found.items()} == pytest.approx(
            {name: float(value) for name, value in terms.items()}, rel=1e-12
        )
        for gradient, expected in zip(summed, gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=sparse_kl"],
        ["model=batch_topk"],
        ["model=jumprelu", "penalty.target_l0=4"],
        ["model=topk", "revival=auxk"],
    ],
)
def test_what_depends_on_a_batch_as_a_whole_is_not_divided(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    monkeypatch.setattr(in_pieces, "LARGE", 0)
    made = stage(configure, *overrides)
    assert not can_divide(made.autoencoder, made.objective, N)


@pytest.mark.parametrize("size", ["1024", "256"])
@pytest.mark.parametrize(("model", "kind"), [("jumprelu", InPieces), ("sparse_l1", ByHand)])
def test_runs_of_large_batches_are_divided(
    configure: Configure, model: str, kind: type[Gradients], size: str
) -> None:
    large = size == "1024"
    words = ["device=cpu", f"model={model}", f"batch_size={size}", "architecture.n_latents=8192"]
    config = configure(*words)
    training = prepare(config, build_parts(config)).training
    made = build_gradients(config, training.device, training.stages[0])
    assert isinstance(made, kind) == (large or kind is ByHand)
    if isinstance(made, ByHand):
        assert made.divides == large

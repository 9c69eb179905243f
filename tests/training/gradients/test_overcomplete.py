"""Loss and gradients of TopK on the weights and the batch of overcomplete 0.3.0."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.topk import TopK
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.reconstruction import MSE
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.sparse import Sparse, can_be_sparse

N_LATENTS, N_FEATURES, K = 16, 3, 2


class Found(NamedTuple):
    """The loss, and gradients of the encoder ``(16, 3)``, its bias and the atoms ``(16, 3)``."""

    loss: float
    encoder: NDArray[np.float32]
    bias: NDArray[np.float32]
    atoms: NDArray[np.float32]


def waves(*shape: int, pace: float) -> Tensor:
    """Numbers that no generator has to draw again."""
    numbers = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return (pace * numbers).sin().view(shape).float()


X = waves(4, N_FEATURES, pace=2.3)
ENCODER, BIAS = waves(N_LATENTS, N_FEATURES, pace=1.7), 0.2 * waves(N_LATENTS, pace=0.9)
ATOMS = nn.functional.normalize(waves(N_LATENTS, N_FEATURES, pace=1.1), dim=1)


def of_overcomplete() -> Found:
    sae = pytest.importorskip(
        "overcomplete.sae", reason="overcomplete is not installed, and no part of the tests"
    )
    model = sae.TopKSAE(N_FEATURES, N_LATENTS, top_k=K).untied(bias=True)
    model.encoder.weight.data.copy_(ENCODER)
    model.encoder.bias.data.copy_(BIAS)
    model.dictionary._weights.data.copy_(ATOMS)
    model.train()
    _, _, x_hat = model(X)
    loss = (X - x_hat).square().mean()
    loss.backward()
    parameters = (model.encoder.weight, model.encoder.bias, model.dictionary._weights)
    return Found(loss.item(), *(parameter.grad.numpy() for parameter in parameters))


def ours(by: type[Gradients]) -> Found:
    options = {"name": "sae", "n_latents": N_LATENTS, "expansion_factor": None}
    options |= {"subtract_bias": False, "bias_init": "zeros", "tied_init": False}
    options |= {"unit_norm_decoder": False, "init": "glorot_uniform"}
    activation = TopK(k=K)
    model: AutoEncoder = ARCHITECTURES.build(
        options, DataShape((N_FEATURES,), None), activation, Generator()
    )
    linear = model.linear_decoder()
    encoder = next(part for part in model.encoder.modules() if isinstance(part, nn.Linear))
    assert linear is not None
    with torch.no_grad():
        encoder.weight.copy_(ENCODER)
        encoder.bias.copy_(BIAS)
        linear[0].copy_(ATOMS.t())
    objective = Objective(MSE(reduction="mean"), None)
    assert can_be_sparse(model, objective)
    gradients = (
        Sparse(model, objective)
        if by is Sparse
        else Autograd(model, objective, Device(torch.device("cpu")))
    )
    terms, found = gradients(X, X)
    of = {id(one): gradient for one, gradient in zip(gradients.parameters, found, strict=True)}
    atoms = next(one for one in gradients.parameters if one.shape == (N_FEATURES, N_LATENTS))
    return Found(
        float(terms["loss"]),
        of[id(encoder.weight)].numpy(),
        of[id(encoder.bias)].numpy(),
        of[id(atoms)].t().numpy(),
    )


# What overcomplete 0.3.0 gives, of the latents that are active: its number, then the gradients of
# its row of the encoder, its bias and its atom.
RECORDED_LOSS = 1.893856406211853
RECORDED = {
    4: [0.025774, -0.010435, -0.011869, 0.027312, -0.347035, 0.158633, 0.302851],
    9: [0.657559, -0.074924, -0.557719, 0.903846, -1.278752, 0.104629, 0.830212],
    10: [0.000000, -0.043759, 0.058311, -0.058681, 0.083598, 0.026124, 0.329586],
    14: [-0.050015, 0.044034, -0.008663, -0.052036, -0.261481, 0.008286, -0.132583],
    15: [0.327629, 0.244165, -0.652992, 0.724533, -0.601059, -0.090736, 1.036896],
}


def recorded() -> Found:
    rows = np.zeros((N_LATENTS, 2 * N_FEATURES + 1), np.float32)
    for latent, row in RECORDED.items():
        rows[latent] = row
    return Found(RECORDED_LOSS, rows[:, :3], rows[:, 3], rows[:, 4:])


@pytest.mark.parametrize("other", [recorded, of_overcomplete])
@pytest.mark.parametrize("by", [Sparse, Autograd])
def test_loss_and_gradients_are_those_of_overcomplete(other: Any, by: type[Gradients]) -> None:
    found, right = ours(by), other()
    assert found.loss == pytest.approx(right.loss, rel=1e-5)
    for one, wanted in zip(found[1:], right[1:], strict=True):
        assert np.abs(wanted).max() > 0.01
        np.testing.assert_allclose(one, wanted, rtol=0.0, atol=1e-5)

"""How many steps of ISTA a learned encoder of a few steps is worth.

    python -m benchmarks.lista

A dictionary for the 8x8 digits is learned by sparse coding and fixed. An unrolled encoder, which
begins as that many steps of ISTA, is then trained to give the converged non-negative codes (Gregor
and LeCun 2010). Errors are squared distances from the converged codes of digits that no training
saw, summed over latents and averaged over examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sae_cli.core.shapes import DataShape
from sae_cli.datasets.digits import digits
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.dictionary import dictionary as dictionary_architecture
from sae_cli.model.architectures.unrolled import UnrolledEncoder
from sae_cli.model.inference import Inference
from sae_cli.model.penalties.activity import L1
from torch import Generator, Tensor

WEIGHT = 0.3
BATCH_SIZE = 32


@dataclass(frozen=True)
class Study:
    """Errors of codes on held-out digits.

    Attributes:
        scale: the mean squared norm of the converged codes.
        ista: of the untrained encoder, which is as many steps of ISTA.
        lista: of the trained one.
        ista_to_match: how many steps of ISTA reach the trained one's error.
        fista_to_match: how many of FISTA.
        n_active: mean number of codes that are on, converged.
    """

    scale: float
    ista: float
    lista: float
    ista_to_match: int
    fista_to_match: int
    n_active: float


def build_inference(n_steps: int, momentum: bool) -> Inference:
    return Inference(momentum, n_steps, True, 0.0, False)


def error(codes: Tensor, expected: Tensor) -> Tensor:
    return (codes - expected).square().sum(1).mean()


def learn_dictionary(x: Tensor, n_latents: int, epochs: int, generator: Generator) -> Tensor:
    """Learn atoms of unit norm, ``(n_features, n_latents)``, by alternating inference and Adam."""
    made = dictionary_architecture(
        *(DataShape((x.shape[1],), None), Pointwise("identity"), generator),
        **{"n_latents": n_latents, "expansion_factor": None},
        **{"unit_norm_decoder": True, "init": "glorot_uniform"},
    )
    penalty, infer = L1(weight=WEIGHT), build_inference(50, momentum=True)
    optimizer = torch.optim.Adam(made.parameters(), 0.003)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH_SIZE):
            atoms = made.atoms(n_latents).t()
            codes = infer(x[rows], atoms, x.new_zeros(len(rows), n_latents), penalty)
            optimizer.zero_grad()
            (made.decode(codes) - x[rows]).square().sum(1).mean().backward()
            optimizer.step()
    return made.atoms(n_latents).t().clone()


def study(n_steps: int, n_latents: int, dictionary_epochs: int, epochs: int) -> Study:
    """Train an encoder of ``n_steps`` steps on the codes of a learned dictionary."""
    generator = Generator().manual_seed(0)
    data = digits(val=200, test=300)
    train, held_out = (
        split.tensor[split.rows].flatten(1).float() / 16.0 for split in (data.train, data.test)
    )
    atoms = learn_dictionary(train, n_latents, dictionary_epochs, generator)
    converge, penalty = build_inference(2000, momentum=True), L1(weight=WEIGHT)
    expected, expected_held_out = (
        converge(x, atoms, x.new_zeros(len(x), n_latents), penalty) for x in (train, held_out)
    )
    relu = Pointwise("relu")
    encoder = UnrolledEncoder(train.shape[1], n_latents, n_steps, relu, None, False)
    encoder.set_from_dictionary_(atoms, WEIGHT)

    def held_out_error() -> float:
        with torch.no_grad():
            return float(error(relu(encoder(held_out)), expected_held_out))

    before = held_out_error()
    optimizer = torch.optim.Adam(encoder.parameters(), 0.001)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            error(relu(encoder(train[rows])), expected[rows]).backward()
            optimizer.step()
        schedule.step()
    after = held_out_error()
    start = held_out.new_zeros(len(held_out), n_latents)

    def to_match(momentum: bool) -> int:
        steps = build_inference(100_000, momentum).steps(held_out, atoms, start, penalty)
        errors = (float(error(codes, expected_held_out)) for codes in steps)
        return next(n for n, found in enumerate(errors) if found <= after)

    active = (expected_held_out > 0).sum(1).float().mean()
    scale = error(torch.zeros_like(start), expected_held_out)
    return Study(float(scale), before, after, to_match(False), to_match(True), float(active))


if __name__ == "__main__":
    for n_steps in (1, 3, 10):
        found = study(n_steps, n_latents=64, dictionary_epochs=20, epochs=200)
        print(
            f"{n_steps:2} steps: squared error of ISTA {found.ista:.3f}, of the trained encoder "
            f"{found.lista:.3f}, which ISTA reaches in {found.ista_to_match} steps and FISTA in "
            f"{found.fista_to_match} (squared norm of codes {found.scale:.3f}, active "
            f"{found.n_active:.1f})"
        )

"""The pages whose steps are taken for several models at once: each model keeps its bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Generator

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.data import read_dataset, read_once
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import Training, build_training
from sae_cli.config.schema import RunConfig
from sae_cli.training.gradients.recording import Batch, Model, Result
from sae_cli.training.gradients.side_by_side import differentiate_all, why_apart
from sae_cli.training.stage import Stage
from tests.conftest import slow
from tests.contracts.small import MODELS, of_model, with_parts

# Convolutions and recurrent layers take most of a step, and are those of one model.
ONE_BY_ONE = ("conv", "conv_2d_code", "conv_group_sparse", "conv_vae", "recurrent")
# What is dead differs from model to model.
REVIVED = "matryoshka"
STACKED = sorted({*MODELS} - {*ONE_BY_ONE, REVIVED})
SOME = ("group_sparse", "sparse_kl", "stacked", "topk", "vae")
N_MODELS, N_STEPS = 3, 5


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Trained:
    """One model of a stage, and what its batches are drawn from."""

    training: Training
    stage: Stage
    model: Model
    generator: Generator

    def batch(self, n: int) -> Batch:
        split = self.stage.examples(self.training.dataset.train)
        if self.stage.below:
            x = torch.rand(n, self.stage.below[-1].n_latents, generator=self.generator)
        else:
            rows = torch.randint(len(split), (n,), generator=self.generator)
            x = next(iter(split.batches(len(split))))[rows]
        autoencoder, head = self.stage.autoencoder, self.stage.objective.head
        noise, labels = None, None
        if autoencoder.activation.samples:
            noise = torch.randn(n, autoencoder.n_latents, generator=self.generator)
        if head is not None:
            labels = torch.randint(-1, 10, (n,), generator=self.generator)
        return Batch(self.model, x, x, labels, noise)

    def state(self) -> list[torch.Tensor]:
        return self.model.own


def made(config: RunConfig, i: int, stage: int) -> Trained:
    parts = config.parts
    penalty = parts["penalty"]
    if "weight" in penalty:
        penalty = penalty | {"weight": penalty["weight"] * (1.0 + 0.5 * i)}
    settings = config.settings.model_copy(update={"seed": i, "compile": "off"})
    config = RunConfig(settings, parts | {"penalty": penalty})
    training = build_training(config, build_parts(config), read_dataset(config, download=False))
    own = training.stages[stage]
    gradients = build_gradients(config, training.device, own)
    modules = (own.autoencoder, own.objective)
    assert why_apart(gradients, modules) is None
    return Trained(training, own, Model(gradients, modules), Generator().manual_seed(i))


def move(one: Trained, result: Result) -> None:
    _, gradients = result
    with torch.no_grad():
        for parameter, gradient in zip(one.model.gradients.parameters, gradients, strict=True):
            parameter.sub_(0.01 * gradient)
    one.stage.objective.after_step_()


def assert_same(found: Sequence[Result], own: Sequence[Result]) -> None:
    for (terms, gradients), (own_terms, own_gradients) in zip(found, own, strict=True):
        assert all(torch.equal(value, own_terms[name]) for name, value in terms.items())
        assert all(map(torch.equal, gradients, own_gradients))


@pytest.mark.parametrize("n", [32, 7])
@pytest.mark.parametrize("name", [*SOME, *slow(sorted({*STACKED} - {*SOME}))])
def test_each_page(name: str, n: int) -> None:
    """Its models train together as their twins train alone, in every stage."""
    assert_trains_together(of_model(name), n)


def test_dead_latents_are_each_models_own() -> None:
    config = of_model(REVIVED)
    assert_trains_together(with_parts(config, revival="none"), 7)
    models = [made(config, i, 0) for i in range(2)]
    differentiate_all([one.batch(8) for one in models])
    assert all("depends on the data" in str(one.model.apart) for one in models)


def test_a_classifier() -> None:
    """Of the codes alone, and with the encoder."""
    assert_trains_together(with_parts(of_model("sparse_l1"), head="classifier"), 7)


def assert_trains_together(config: RunConfig, n: int) -> None:
    with read_once():
        n_stages = len(made(config, 0, 0).training.stages)
        for stage in range(n_stages):
            models, twins = ([made(config, i, stage) for i in range(N_MODELS)] for _ in range(2))
            for size in [n] * N_STEPS + [3] * N_STEPS:
                found = differentiate_all([one.batch(size) for one in models])
                own = [one.batch(size).differentiate() for one in twins]
                assert_same(found, own)
                for group, results in ((models, found), (twins, own)):
                    for one, result in zip(group, results, strict=True):
                        move(one, result)
            for one, twin in zip(models, twins, strict=True):
                assert all(map(torch.equal, one.state(), twin.state()))
                recorded = one.model.recorded.values()
                assert len(recorded) == 2 and None not in recorded


@pytest.mark.parametrize("name", ["conv", *slow(ONE_BY_ONE[1:])])
def test_pages_that_gain_nothing(name: str) -> None:
    config = of_model(name)
    models = [made(config, i, 0) for i in range(2)]
    found = differentiate_all([one.batch(8) for one in models])
    assert_same(
        found, [one.batch(8).differentiate() for one in (made(config, i, 0) for i in (0, 1))]
    )
    assert all([*one.model.recorded.values()] == [None] for one in models)
    assert all("recurrent layers" in str(one.model.apart) for one in models)

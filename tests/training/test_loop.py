"""The loop against a training written out by hand, and its promises about order and noise."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sae_cli.datasets import Split
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import KL
from sae_cli.model.reconstruction import MSE
from sae_cli.training.corruptions import Corruption, Masking
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.loop import Position, encode, evaluate, fit
from sae_cli.training.metrics import Baseline
from sae_cli.training.optimizers.descent import SGD
from sae_cli.training.step import Step
from sae_cli.training.sums import BrokenError

X = torch.rand((23, 6), generator=Generator().manual_seed(0))
CPU = Device(torch.device("cpu"))


def model(seed: int = 0) -> AutoEncoder:
    torch.manual_seed(seed)
    return AutoEncoder(
        nn.Linear(6, 4), Pointwise("sigmoid", 0.1), nn.Linear(4, 6), Pointwise("identity"), 4
    )


def split(x: Tensor = X) -> Split:
    return Split(x, torch.arange(len(x)))


def objective(weight: float = 0.5) -> Objective:
    return Objective(
        MSE(reduction="mean"), KL(weight=weight, target=0.1, divide_by_batch_size=False)
    )


def train(
    autoencoder: AutoEncoder,
    data: Split,
    *,
    epochs: int = 3,
    batch_size: int = 5,
    learning_rate: float = 0.1,
    corruption: Corruption | None = None,
    steps: list[int] | None = None,
    autograd: bool = False,
) -> list[dict[str, float]]:
    goal, order = objective(), Generator().manual_seed(1)
    step = Step(
        Autograd(autoencoder, goal, CPU) if autograd else ByHand(autoencoder, goal),
        SGD(autoencoder.parameters(), learning_rate=0.1, momentum=0.0, weight_decay=0.0),
        corruption,
        Generator().manual_seed(2),
        batch_size,
    )
    return list(
        fit(
            step,
            data,
            lambda step: 1.0 / (1 + step),
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            order=order,
            position=Position(0, 0, order.get_state()),
            on_step=lambda terms, n: None if steps is None else steps.append(len(terms)),
        )
    )


@pytest.mark.parametrize("autograd", [False, True])
def test_against_a_training_by_hand(autograd: bool) -> None:
    trained, by_hand = model(), model()
    means = train(trained, split(), autograd=autograd)
    encoder, decoder = by_hand.encoder, by_hand.decoder
    order, step = Generator().manual_seed(1), 0
    for epoch in range(3):
        shuffled = torch.randperm(23, generator=order)
        total = 0.0
        for start in range(0, 23, 5):
            x = X[shuffled[start : start + 5]]
            codes = torch.sigmoid(encoder(x))
            q = codes.mean(0)
            kl = (0.1 * (0.1 / q).log() + 0.9 * (0.9 / (1 - q)).log()).sum()
            loss = F.mse_loss(decoder(codes), x) + 0.5 * kl
            gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
                    parameter.sub_(gradient, alpha=0.1 / (1 + step))
            total += float(loss.detach()) * len(x)
            step += 1
        assert means[epoch]["loss"] == pytest.approx(total / 23, rel=1e-6)
    for parameter, wanted in zip(trained.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(parameter, wanted, rtol=1e-5, atol=1e-7)


def test_each_epoch_takes_every_example_once_with_a_smaller_last_batch() -> None:
    steps: list[int] = []
    train(model(), split(), epochs=2, steps=steps)
    assert len(steps) == 2 * 5


def test_two_trainings_agree_to_the_bit() -> None:
    first, second = model(), model()
    noise = Masking(fraction=0.5)
    assert train(first, split(), corruption=noise) == train(second, split(), corruption=noise)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_target_is_clean_and_evaluation_does_not_corrupt() -> None:
    """With all input masked, the decoder's bias learns the mean of the clean data."""

    class Nothing(Corruption):
        def __call__(self, x: Tensor, generator: Generator) -> Tensor:
            return torch.zeros_like(x)

    trained = model()
    train(trained, split(), epochs=300, learning_rate=3.0, corruption=Nothing())
    with torch.no_grad():
        assert torch.allclose(trained(torch.zeros(1, 6)).x_hat[0], X.mean(0), atol=0.05)


def test_evaluation_does_not_depend_on_order_and_uses_the_mean_of_the_whole_split() -> None:
    trained = model()
    shuffled = split()
    reordered = Split(X, torch.randperm(23, generator=Generator().manual_seed(5)))
    results = []
    for data in (shuffled, reordered):
        values = evaluate(trained, objective(), data, Baseline.of(data.batches(4)), CPU)
        results.append(values)
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    with torch.no_grad():
        q = trained.encode(X).double().mean(0)
        kl = (0.1 * (0.1 / q).log() + 0.9 * (0.9 / (1 - q)).log()).sum()
    assert results[0]["penalty_raw"] == pytest.approx(float(kl))
    assert results[0]["loss"] == pytest.approx(results[0]["mse"] + 0.5 * float(kl))


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    with pytest.raises(BrokenError, match="loss, reconstruction became infinite or NaN") as raised:
        train(model(), split(X * 1e30), learning_rate=1e30)
    assert raised.value.done == 0


def test_codes_of_a_split_are_a_split() -> None:
    trained = model()
    data = Split(X, torch.tensor([3, 1, 4]), torch.arange(23))
    codes = encode(trained, data, CPU)
    assert torch.equal(codes.tensor, trained.encode(X[[3, 1, 4]]).detach())
    assert codes.labels is not None
    assert codes.labels.tolist() == [3, 1, 4]


def test_bfloat16_is_near_float32_and_keeps_weights_in_float32() -> None:
    trained = model()
    exact = CPU.run(trained, X)
    rough = Device(torch.device("cpu"), bfloat16=True).run(copy.deepcopy(trained), X)
    assert rough.x_hat.dtype == torch.float32
    assert not torch.equal(rough.x_hat, exact.x_hat)
    assert torch.allclose(rough.x_hat, exact.x_hat, atol=0.02)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    gpu = Device(torch.device("cuda"))
    on_gpu, order = model().to(gpu.torch), Generator().manual_seed(1)
    step = Step(
        ByHand(on_gpu, objective()),
        SGD(on_gpu.parameters(), learning_rate=0.1, momentum=0.0, weight_decay=0.0),
        None,
        Generator(gpu.torch).manual_seed(2),
        5,
    )
    means = fit(
        step,
        Split(X.to(gpu.torch), torch.arange(len(X), device=gpu.torch)),
        lambda step: 1.0 / (1 + step),
        learning_rate=0.1,
        epochs=3,
        batch_size=5,
        order=order,
        position=Position(0, 0, order.get_state()),
        on_step=lambda terms, n: None,
    )
    on_cpu = train(model(), split())
    for one, other in zip(means, on_cpu, strict=True):
        assert math.isclose(one["loss"], other["loss"], rel_tol=1e-4)

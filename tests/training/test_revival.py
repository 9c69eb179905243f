"""Revival of dead latents: against equations in NumPy, and on data whose features are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from sae_cli.assembly.parts import build_parts
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.datasets import Split
from sae_cli.datasets.batch_rows import BatchRows, values_of
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.reconstruction import MSE
from sae_cli.results.saved_config import check_saved
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.loop import Position, fit
from sae_cli.training.optimizers.descent import Adam
from sae_cli.training.revivals import Revival
from sae_cli.training.revivals.auxk import AuxK
from sae_cli.training.revivals.resample import Resample
from sae_cli.training.shares import Share
from sae_cli.training.step import Step
from tests.conftest import Configure
from tests.contracts.small import page_of

CPU = Device(torch.device("cpu"))
SUM = MSE(reduction="sum")


def network(
    n_features: int, n_latents: int, activation: dict[str, Any], **options: Any
) -> AutoEncoder:
    """An auto-encoder of the page ``sae``, whose bias begins with zeros."""
    codes = ACTIVATIONS.build(activation)
    options |= {"n_latents": n_latents, "expansion_factor": None, "bias_init": "zeros"}
    page = page_of("architecture/sae.yaml") | options
    shape = DataShape((n_features,), None)
    made = ARCHITECTURES.build(page, shape, codes, Generator().manual_seed(3))
    codes.fit_to_([n_latents])
    return made


TOPK = {"name": "topk", "k": 3}
RELU = page_of("activation/relu.yaml")


def layers(made: AutoEncoder) -> tuple[nn.Linear, nn.Linear]:
    """The layers of encoder and decoder."""
    encoder, decoder = made.encoder.get_submodule("2"), made.decoder.get_submodule("0")
    assert isinstance(encoder, nn.Linear) and isinstance(decoder, nn.Linear)
    return encoder, decoder


X = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 6)))
IDLE = [50, 0, 49, 50, 900, 0, 60, 3, 51, 12]


def small(unit_norm: bool = False) -> AutoEncoder:
    made = network(6, 10, TOPK, unit_norm_decoder=unit_norm).double()
    with torch.no_grad():
        layers(made)[1].bias.normal_(generator=Generator().manual_seed(5))
        layers(made)[0].bias.normal_(generator=Generator().manual_seed(6))
    return made


def numpy_auxk(
    weight: np.ndarray[Any, Any], atoms: np.ndarray[Any, Any], made: AutoEncoder, k_aux: int
) -> float:
    """The term by its equation, of which the residual knows nothing of ``weight`` and ``atoms``."""
    x = X.numpy()
    residual = x - made(X).x_hat.detach().numpy()
    bias, own = layers(made)[1].bias.detach().numpy(), layers(made)[0].bias.detach().numpy()
    pre_codes = (x - bias) @ weight.T + own
    error = 0.0
    for row, left in zip(pre_codes, residual, strict=True):
        dead = sorted((j for j in range(10) if IDLE[j] >= 50), key=lambda j: -row[j])
        guess = sum(max(row[j], 0.0) * atoms[:, j] for j in dead[:k_aux])
        error += float(((guess - left) ** 2).sum())
    return error / float(((residual - residual.mean(0)) ** 2).sum())


def auxk(made: AutoEncoder, k_aux: int | None, idle: list[int], scale_free: bool = False) -> AuxK:
    term = AuxK(made, SUM, weight=0.5, k_aux=k_aux, dead_after=50, scale_free=scale_free)
    term.idle.copy_(torch.tensor(idle))
    return term


@pytest.mark.parametrize("k_aux", [1, 2, 4, 9])
def test_the_term_and_its_gradient_are_those_of_the_equation(k_aux: int) -> None:
    made = small()
    term = auxk(made, k_aux, IDLE)
    objective = Objective(SUM, None, further={"auxk": term})
    terms = objective(made(X, training=True), X)
    values = {name: float(value.detach()) for name, value in terms.items()}
    weight, atoms = layers(made)[0].weight, layers(made)[1].weight
    expected = numpy_auxk(weight.detach().numpy(), atoms.detach().numpy(), made, k_aux)
    assert values["auxk_raw"] == pytest.approx(expected, rel=1e-9)
    assert values["auxk"] == pytest.approx(0.5 * expected, rel=1e-9)
    total = values["reconstruction"] + values["auxk"]
    assert values["loss"] == pytest.approx(total, rel=1e-9)
    found = torch.autograd.grad(terms["auxk_raw"], [weight, atoms])
    for which, gradient in enumerate(found):
        given = [weight.detach().numpy(), atoms.detach().numpy()]
        for place in np.ndindex(*given[which].shape):
            both = []
            for step in (1e-6, -1e-6):
                moved = [one.copy() for one in given]
                moved[which][place] += step
                both.append(numpy_auxk(moved[0], moved[1], made, k_aux))
            slope = (both[0] - both[1]) / 2e-6
            assert float(gradient[place]) == pytest.approx(slope, abs=1e-5)


def test_beside_the_undivided_error_it_has_the_balance_of_the_paper() -> None:
    made = small()
    x = X.numpy()
    for reconstruction, divisor in ((SUM, 7), (MSE(reduction="mean"), 42)):
        term = AuxK(made, reconstruction, weight=0.5, k_aux=2, dead_after=50, scale_free=True)
        term.idle.copy_(torch.tensor(IDLE))
        terms = Objective(reconstruction, None, further={"auxk": term})(made(X), X)
        weight, atoms = (layer.weight.detach().numpy() for layer in layers(made))
        error = float(((x - made(X).x_hat.detach().numpy()) ** 2).sum())
        variation = float(((x - x.mean(0)) ** 2).sum())
        # Gao et al. 2024: both errors over what the mean would leave.
        of_paper = error / variation + 0.5 * numpy_auxk(weight, atoms, made, 2)
        loss = float(terms["loss"].detach())
        assert loss == pytest.approx(of_paper * variation / divisor, rel=1e-9)


def test_living_latents_and_what_the_residual_is_made_of_get_no_gradient() -> None:
    made = small()
    passed = made(X)
    raw = auxk(made, 9, IDLE).mean(passed, X)
    rows = torch.autograd.grad(raw, layers(made)[0].weight, retain_graph=True)[0].abs().sum(1)
    assert rows.any() and not rows[torch.tensor(IDLE) < 50].any()
    assert not torch.autograd.grad(raw, layers(made)[1].weight)[0][:, torch.tensor(IDLE) < 50].any()


def test_without_dead_latents_or_variation_the_term_is_nothing() -> None:
    made = small()
    objective = Objective(SUM, None, further={"auxk": auxk(made, 2, [0] * 10)})
    terms = objective(made(X), X)
    assert float(terms["auxk_raw"].detach()) == 0.0
    for idle, x in (([0] * 10, X), (IDLE, X[:1].expand(4, 6))):
        raw = auxk(made, 2, idle).mean(made(x), x)
        gradients = torch.autograd.grad(raw, list(made.parameters()), allow_unused=True)
        assert float(raw.detach()) == 0.0
        assert all(one is None or not one.any() for one in gradients)


def test_it_is_a_term_of_training_alone() -> None:
    made = small()
    objective = Objective(SUM, None, further={"auxk": auxk(made, None, IDLE)})
    assert objective.term_names == ["loss", "reconstruction", "auxk", "auxk_raw"]
    assert list(objective.means(made(X), X)) == ["reconstruction"]
    assert auxk(made, None, IDLE).k_aux == 3


def test_latents_are_counted_in_examples() -> None:
    made = small()
    revival = auxk(made, 2, IDLE)
    expected, revived = np.array(IDLE), 0
    for x in (X, X[:2], X[2:3]):
        passed = made(x, training=True)
        active = (passed.codes.detach().numpy() != 0.0).any(0)
        revived += int((active & (expected >= 50)).sum())
        expected = np.where(active, 0, expected + len(x))
        revival.watch_(passed)
        assert revival.idle.tolist() == expected.tolist()
    assert revived and revival.report_() == {"revived": revived}
    assert revival.report_() == {"revived": 0}


def resample(made: AutoEncoder, **options: Any) -> Resample:
    plain: dict[str, Any] = {"every": 5, "until": None, "encoder_scale": 0.2, "dead_after": 50}
    return Resample(made, SUM, **(plain | options))


def test_dead_latents_get_examples_for_atoms() -> None:
    made = small(unit_norm=True)
    optimizer = Adam(
        made.parameters(), learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0
    )
    gradients = [torch.ones_like(parameter) for parameter in made.parameters()]
    optimizer.step(gradients, 0.01)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    revival = resample(made)
    revival.idle.copy_(torch.tensor(IDLE))
    errors = torch.tensor([0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0]).double()
    revival.resample_(X, errors, optimizer, Generator().manual_seed(1))
    dead = [j for j, idle in enumerate(IDLE) if idle >= 50]
    living = [j for j in range(10) if j not in dead]
    encoder, decoder = layers(made)
    centred = (X - decoder.bias.detach()).numpy()
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    atoms = decoder.weight.detach().numpy()
    drawn = [int(np.abs(directions - atoms[:, j]).sum(1).argmin()) for j in dead]
    # All that have an error are drawn, each once.
    assert sorted(drawn) == [1, 2, 4, 5, 6]
    np.testing.assert_allclose(atoms[:, dead], directions[drawn].T, rtol=1e-9)
    length = np.linalg.norm(before["encoder.2.weight"].numpy()[living], axis=1).mean()
    rows = encoder.weight.detach().numpy()
    np.testing.assert_allclose(rows[dead], 0.2 * length * directions[drawn], rtol=1e-9)
    assert not encoder.bias[dead].any()
    for name, value in made.state_dict().items():
        if name == "decoder.0.bias":
            assert torch.equal(value, before[name])
        else:
            own = (slice(None), living) if name.startswith("decoder") else living
            assert torch.equal(value[own], before[name][own])
    for parameter in (encoder.weight, encoder.bias):
        for state in optimizer.state_of(parameter):
            assert not state[dead].any() and state[living].all()
    for state in optimizer.state_of(
        made.get_parameter("decoder.0.parametrizations.weight.original")
    ):
        assert not state[:, dead].any() and state[:, living].all()
    assert all(state.all() for state in optimizer.state_of(decoder.bias))
    assert revival.report_() == {"revived": 5}
    assert not revival.dead.any()


def test_examples_are_drawn_in_proportion_to_their_error() -> None:
    errors = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    counts, generator = np.zeros(4), Generator().manual_seed(1)
    made = small()
    with torch.no_grad():
        layers(made)[1].bias.zero_()
    revival = resample(made)
    optimizer = Adam(
        made.parameters(), learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0
    )
    x = torch.eye(6).double()[:4]
    for _ in range(2000):
        revival.idle.copy_(torch.tensor([50] + [0] * 9))
        revival.resample_(x, errors, optimizer, generator)
        counts[int(layers(made)[1].weight[:, 0].argmax())] += 1
    np.testing.assert_allclose(counts / 2000, [0.1, 0.2, 0.3, 0.4], atol=0.04)


def test_when_it_is_due() -> None:
    made = small()
    assert [n for n in range(1, 21) if resample(made).is_due(n)] == [5, 10, 15, 20]
    assert [n for n in range(1, 21) if resample(made, until=14).is_due(n)] == [5, 10]


def features(n: int) -> Tensor:
    """Examples of 40 sparse features in 20 dimensions."""
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(40, 20))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    x = ((rng.random((n, 40)) < 0.08) * rng.uniform(0.5, 1.5, (n, 40))) @ atoms
    return torch.from_numpy(x.astype(np.float32))


def share_of_dead(made: AutoEncoder, revival: Revival | None, data: Tensor) -> float:
    """Train on known features; the share of latents that none of the examples then activates."""
    further = {} if revival is None else {"revival": revival}
    objective = Objective(SUM, None, further=further)
    optimizer = Adam(
        made.parameters(), learning_rate=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0
    )
    noise, order = Generator().manual_seed(1), Generator().manual_seed(2)
    step = Step(Autograd(made, objective, CPU), optimizer, None, noise, 100)

    def between_steps(number: int, batch: Tensor | BatchRows, share: Share | None) -> None:
        if isinstance(revival, Resample) and revival.is_due(number):
            x = values_of(batch)
            errors = (x - made(x).x_hat.detach()).square().sum(1)
            revival.resample_(x, errors, optimizer, noise)

    for _ in fit(
        step,
        Split(data, torch.arange(len(data)), None),
        lambda step: 1.0,
        learning_rate=0.003,
        epochs=10,
        batch_size=100,
        order=order,
        position=Position(0, 0, order.get_state()),
        on_step=lambda terms, n: None,
        between_steps=between_steps,
    ):
        pass
    return 1.0 - float((made(data).codes > 0.0).any(0).float().mean())


def test_auxk_revives_latents_that_are_never_among_the_largest() -> None:
    def made() -> AutoEncoder:
        autoencoder = network(20, 32, TOPK)
        with torch.no_grad():
            layers(autoencoder)[0].bias[:12] = -1.0
        return autoencoder

    data = features(4000)
    assert share_of_dead(made(), None, data) > 0.2
    revived = made()
    revival = AuxK(revived, SUM, weight=1 / 32, k_aux=None, dead_after=500)
    assert share_of_dead(revived, revival, data) < 0.01


def test_resampling_revives_latents_that_no_gradient_reaches() -> None:
    def made() -> AutoEncoder:
        autoencoder = network(20, 36, RELU)
        with torch.no_grad():
            layers(autoencoder)[0].bias[:12] = -10.0
        return autoencoder

    data = features(4000)
    assert share_of_dead(made(), None, data) > 0.2
    revived = made()
    revival = Resample(revived, SUM, every=100, until=300, encoder_scale=0.2, dead_after=1000)
    assert share_of_dead(revived, revival, data) < 0.01


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("model=vae", "revival=auxk"), "one pre-code for each latent.*activation=gaussian"),
        (("model=conv", "revival=auxk"), "a decoder of one linear layer"),
        (("model=stacked", "revival=resample"), "a decoder of one linear layer"),
        (("model=tied", "revival=resample", "architecture.hidden_sizes=[]"), "weights of its own"),
        (
            ("model=sparse_kl", "architecture.output_activation=sigmoid", "revival=auxk"),
            "architecture.output_activation=identity",
        ),
        (("model=psd", "revival=auxk"), "choose revival=none or inference=none"),
    ],
)
def test_networks_that_do_not_fit(
    overrides: tuple[str, ...], says: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=says):
        build_parts(configure(*overrides))


def test_a_configuration_from_before_there_was_revival_is_one_without(configure: Configure) -> None:
    config = configure("model=topk")
    plain = config.as_dict()
    del plain["revival"]
    assert check_saved(plain) == config

"""Evaluations against closed forms, and against scikit-learn and SciPy."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from sae_cli.assembly.network import Network
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, Interval
from sae_cli.datasets import Dataset, Split
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.head import Head
from sae_cli.results.evaluation import probes, reference
from sae_cli.results.evaluation.evaluation import compare_atoms, evaluate
from sae_cli.results.evaluation.latent_units import LatentUnits
from sae_cli.results.evaluation.measure import measure
from sae_cli.results.evaluation.modes import modes_of_angles
from sae_cli.results.evaluation.probes import Labelled, probe
from sae_cli.results.evaluation.reference import principal_components, unexplained
from sae_cli.results.evaluation.stability import alike
from sae_cli.results.evaluation.subject import Subject
from sae_cli.results.run import Run
from sae_cli.results.saved_model import Weights

RNG = np.random.default_rng(0)
D = 6


def split(x: Tensor, labels: Tensor | None = None) -> Split:
    return Split(x, torch.arange(len(x)), labels)


def dataset(train: Tensor, test: Tensor, *labels: Tensor) -> Dataset:
    own = labels or (None, None)
    return Dataset(split(train, own[0]), split(test, own[1]), split(test, own[1]), REALS, None, "x")


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.float())
    layer.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias.float())
    return layer


def model(encoder: nn.Linear, decoder: nn.Linear, activation: str = "identity") -> AutoEncoder:
    own, n = Pointwise(activation), encoder.out_features
    return AutoEncoder(encoder, own, decoder, Pointwise("identity"), n).eval()


def run_of(model: AutoEncoder, interval: Interval = REALS) -> Run:
    network = Network(model, None, None)
    record = DataRecord(Inputs(), False, interval)
    return Run(Path("/run"), None, network, (D,), record, Weights("made up"))


def normal(n: int, seed: int = 0) -> Tensor:
    scales = np.array([5.0, 3.0, 1.0, 0.5, 0.2, 0.1])
    x = np.random.default_rng(seed).normal(2.0, scales, (n, D))
    return torch.from_numpy(x.astype(np.float32))


def subject(model: AutoEncoder, data: Dataset, name: str = "test") -> Subject:
    return Subject(run_of(model), data, name, [])


IDENTITY = model(linear(torch.eye(D)), linear(torch.eye(D)))


def test_the_identity_explains_all() -> None:
    found = measure(subject(IDENTITY, dataset(normal(50), normal(3000, 1))))
    assert found.metrics["fvu"] == 0.0 and found.metrics["mse"] == 0.0
    assert found.metrics["l0"] == D and found.metrics["dense_latents"] == D
    assert found.metrics["dead_latents"] == 0


def test_the_mean_explains_nothing() -> None:
    test = normal(3000, 1)
    mean = test.double().mean(0)
    of_mean = model(linear(torch.zeros(2, D)), linear(torch.zeros(D, 2), mean))
    found = measure(subject(of_mean, dataset(normal(50), test)))
    assert found.metrics["fvu"] == pytest.approx(1.0, rel=1e-6)
    assert found.metrics["dead_latents"] == 2 and found.metrics["l0"] == 0.0


def test_one_hot_codes_have_an_l0_of_1() -> None:
    x = torch.eye(D)[torch.arange(300) % D]
    found = measure(subject(IDENTITY, dataset(x, x)))
    assert found.metrics["l0"] == 1.0
    assert found.metrics["mean_activity"] == pytest.approx(1 / D)
    assert found.metrics["dense_latents"] == D
    rare = torch.zeros(1000, D)
    rare[:100, 0] = 1.0
    rare[:101, 1] = 1.0
    found = measure(subject(IDENTITY, dataset(x, rare)))
    # More than a tenth of the examples is dense, a tenth is not.
    assert (found.metrics["dense_latents"], found.metrics["dead_latents"]) == (1, 4)


def test_data_that_do_not_vary_have_no_fvu() -> None:
    same = torch.ones(20, D)
    found = evaluate(subject(IDENTITY, dataset(same, same)))
    assert math.isnan(found.metrics["fvu"]) and math.isnan(found.metrics["pca_fvu"])


@pytest.mark.parametrize("most_features", [4096, 3])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_principal_components_are_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, most_features: int, offset: float
) -> None:
    """By the covariance and by singular vectors, also far from 0."""
    monkeypatch.setattr(reference, "MOST_FEATURES", most_features)
    train, test = normal(400) + offset, normal(300, 1) + offset
    found = principal_components(split(train))
    variation = float((test.double() - test.double().mean(0)).square().sum())
    pca = PCA(svd_solver="full").fit(train.double().numpy())
    for k, fvu in enumerate(unexplained(found, split(test), range(D + 1), variation)):
        x = test.double().numpy() - pca.mean_
        left = x - x @ pca.components_[:k].T @ pca.components_[:k]
        assert fvu == pytest.approx(np.square(left).sum() / variation, rel=1e-6, abs=1e-9)
    assert found.how == "400 training examples"


def test_many_wide_examples_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MOST_FEATURES", 3)
    monkeypatch.setattr(reference, "MOST_ROWS", 50)
    found = principal_components(split(normal(400)))
    assert found.how == "50 training examples of 400"
    torch.testing.assert_close(found.mean, normal(400)[::8].double().mean(0))


def test_no_linear_code_is_better_than_the_reference() -> None:
    train = normal(400)
    pca = PCA(2).fit(train.double().numpy())
    axes, mean = torch.from_numpy(pca.components_), torch.from_numpy(pca.mean_)
    best = model(linear(axes, -axes @ mean), linear(axes.t(), mean))
    test = normal(300, 1)
    found = evaluate(subject(best, dataset(train, test)))
    assert found.metrics["fvu"] == pytest.approx(found.metrics["pca_fvu"], rel=1e-4)
    x = test.double().numpy()
    errors = np.square(x - pca.inverse_transform(pca.transform(x))).sum(1)
    assert found.metrics["pca_squared_error"] == pytest.approx(errors.mean(), rel=1e-6)
    assert found.metrics["squared_error"] == pytest.approx(errors.mean(), rel=1e-4)
    assert any("pca_fvu is of 2 principal components" in note for note in found.notes)


def labelled(n: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, D)) + 1.5 * np.eye(3, D)[y]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def test_probes_are_those_of_scikit_learn() -> None:
    (x, y), (x_test, y_test) = labelled(300, 0), labelled(200, 1)
    found = evaluate(subject(IDENTITY, dataset(x, x_test, y, y_test)))
    mean, sd = x.numpy().mean(0), x.numpy().std(0)
    linear = LogisticRegression(max_iter=500).fit((x.numpy() - mean) / sd, y)
    right = linear.score((x_test.numpy() - mean) / sd, y_test)
    assert found.metrics["linear_probe"] == pytest.approx(right)
    nearest = KNeighborsClassifier(5).fit(x.numpy(), y).score(x_test.numpy(), y_test)
    assert found.metrics["neighbours"] == pytest.approx(nearest)
    assert 0.5 < right < 1.0


def test_examples_without_a_label_are_left_out() -> None:
    (x, y), (x_test, y_test) = labelled(300, 0), labelled(200, 1)
    some = torch.where(torch.arange(300) % 2 == 0, y, -1)
    found = evaluate(subject(IDENTITY, dataset(x, x_test, some, y_test)))
    wanted = probe(
        Labelled(x[::2].numpy(), y[::2].numpy()), Labelled(x_test.numpy(), y_test.numpy())
    )
    assert found.metrics["linear_probe"] == wanted.linear
    assert any("codes of 150 training examples" in note for note in found.notes)


def test_what_cannot_be_probed_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = labelled(60, 0)
    none = evaluate(subject(IDENTITY, dataset(x, x)))
    assert "linear_probe" not in none.metrics and none.metrics["fvu"] == 0.0
    assert "linear_probe and neighbours need labels, and these data have none" in none.notes
    unknown = torch.full((60,), -1)
    assert "linear_probe" not in evaluate(subject(IDENTITY, dataset(x, x, unknown, y))).metrics
    alike = evaluate(subject(IDENTITY, dataset(x, x, torch.zeros_like(y), y)))
    assert any("all of one class" in note for note in alike.notes)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    without = evaluate(subject(IDENTITY, dataset(x, x, y, y)))
    assert any("pip install 'sae-train[evaluation]'" in note for note in without.notes)
    assert without.metrics["pca_fvu"] == pytest.approx(0.0, abs=1e-9)


def test_many_codes_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_VALUES", 10 * D)
    x, y = labelled(100, 0)
    found = probes.labelled_codes(subject(IDENTITY, dataset(x, x, y, y)), split(x, y))
    assert found is not None
    np.testing.assert_array_equal(found.x, x[::10])
    np.testing.assert_array_equal(found.y, y[::10])


def test_units_of_a_variational_model() -> None:
    mean = np.stack([RNG.normal(0, 1, 4000), RNG.normal(7, 0.05, 4000), np.full(4000, 3.0)], 1)
    log_variance = RNG.normal(-1, 0.2, mean.shape)
    units = LatentUnits(3)
    pre_codes = torch.from_numpy(np.concatenate([mean, log_variance], 1)).float()
    for batch in torch.split(pre_codes, 999):
        units.update(batch)
    np.testing.assert_allclose(units.variances, pre_codes[:, :3].double().var(0, correction=0))
    assert units.variances[2] == 0.0
    p = torch.distributions.Normal(pre_codes[:, :3], (0.5 * pre_codes[:, 3:]).exp())
    kl = torch.distributions.kl_divergence(p, torch.distributions.Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(units.kl.float(), kl, rtol=1e-4, atol=1e-4)
    found = units.result()
    # The second varies with a variance of 0.0025, below 0.01.
    assert found["active_units"] == 1
    assert found["kl"] == pytest.approx(sum(found["kl_per_latent"]))


def test_a_variational_model_is_measured_by_its_means() -> None:
    own = ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0})
    both = linear(torch.cat([torch.eye(D), torch.zeros(D, D)]))
    vae = AutoEncoder(both, own, linear(torch.eye(D)), Pointwise("identity"), D).eval()
    x = normal(500)
    found = evaluate(subject(vae, dataset(x, x)))
    assert found.metrics["fvu"] == 0.0
    variances = x.double().var(0, correction=0)
    assert found.metrics["active_units"] == int((variances > 0.01).sum())
    assert found.metrics["kl"] == pytest.approx(float(0.5 * x.double().square().sum(1).mean()))


def test_angles_are_those_of_live_latents_beside_a_classifier() -> None:
    rows, atoms = (np.random.default_rng(seed).normal(0, 1, (40, D)) for seed in (3, 4))
    encoder = linear(torch.from_numpy(rows), torch.full((40,), 100.0))
    encoder.bias.data[:5] = -100.0  # These five never rise above 0.
    of_both = model(encoder, linear(torch.from_numpy(atoms.T.copy())), "relu")
    head = Head(40, 2, normalise=False, max_row_norm=None, generator=torch.Generator())
    own = subject(of_both, dataset(normal(50), normal(60, 1)))
    assert "angle_modes" not in evaluate(own).metrics
    own = replace(own, run=replace(own.run, network=replace(own.run.network, head=head)))
    cosines = (rows * atoms).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(atoms, axis=1)
    found = evaluate(own)
    for name, value in modes_of_angles(np.arccos(cosines[5:])).items():
        assert found.metrics[name] == pytest.approx(value, abs=1e-3)
    assert any("35 live latents" in note for note in found.notes)


def test_atoms_are_matched_one_to_one() -> None:
    atoms = torch.from_numpy(RNG.normal(size=(8, 5)))
    order = torch.from_numpy(RNG.permutation(8))
    same = alike(atoms, 3.0 * atoms[order], signed=True)
    assert same.matched == pytest.approx(1.0) and same.nearest == pytest.approx(1.0)
    # Two atoms that want the same partner get one each.
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    other = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = alike(one, other, signed=True)
    assert (found.matched, found.nearest) == (0.5, 0.75)
    assert alike(one, -other, signed=False).matched == 0.5
    assert alike(one, -other, signed=True).matched == pytest.approx(-0.5)
    assert alike(one, torch.zeros(1, 2), signed=True) == (0.0, 0.0)


def test_without_scipy_the_nearest_atoms_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    runs = [run_of(IDENTITY), run_of(IDENTITY)]
    found, (note,) = compare_atoms(runs)
    assert found == {"nearest_cosine": pytest.approx(1.0)}
    assert "needs SciPy" in note


def test_atoms_that_cannot_be_compared_are_a_line() -> None:
    deep = AutoEncoder(
        nn.Linear(D, 2),
        Pointwise("relu"),
        nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, D)),
        Pointwise("identity"),
        2,
    )
    found, (note,) = compare_atoms([run_of(IDENTITY), run_of(deep)])
    assert found == {} and "has no dictionary" in note
    wide = model(linear(torch.zeros(2, 3)), linear(torch.zeros(3, 2)))
    found, (note,) = compare_atoms([run_of(IDENTITY), run_of(wide)])
    assert found == {} and "they have 6 and 3 features" in note


def test_values_that_were_not_trained_on_are_said() -> None:
    x = normal(50)
    of_units = Subject(run_of(IDENTITY, Interval(0.0, 1.0)), dataset(x, x), "test", [])
    (note, *_) = evaluate(of_units).notes
    assert "and was trained on values in [0, 1]" in note


def test_an_unknown_split() -> None:
    with pytest.raises(ConfigError, match="split tset is unknown"):
        evaluate(subject(IDENTITY, dataset(normal(9), normal(9)), "tset"))

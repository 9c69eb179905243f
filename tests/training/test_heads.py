"""Classifiers of codes against formulas, and what training them moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Dataset
from sae_cli.model.autoencoder import Pass
from sae_cli.model.head import Head
from sae_cli.model.objective import Objective
from sae_cli.training.heads import keep_labels
from tests.conftest import Configure

CODES = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
LABELS = np.array([2, -1, 0, 1, 1, -1, 2, 0, 0])


def head(normalise: bool = False, max_row_norm: float | None = None) -> Head:
    """Make a head whose weights and biases are not zero."""
    generator = Generator().manual_seed(0)
    made = Head(5, 3, normalise=normalise, max_row_norm=max_row_norm, generator=generator)
    with torch.no_grad():
        made.linear.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
    return made


@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("normalise", [False, True])
def test_cross_entropy_against_numpy(normalise: bool, bound: float | None) -> None:
    """Unlabelled examples add nothing, neither to the sum nor to the count."""
    made = head(normalise, bound)
    weight, bias = next(p for p in made.parameters() if p.ndim == 2), made.linear.bias
    w, b = weight.detach().double().numpy(), bias.detach().double().numpy()
    codes = CODES.astype(np.float64)
    row_norms = np.linalg.norm(w, axis=1, keepdims=True)
    if bound is not None:
        assert (row_norms > bound).any()
        w = w * np.minimum(1.0, bound / row_norms)
    if normalise:
        codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    scores = codes @ w.T + b
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    labelled = np.flatnonzero(LABELS >= 0)
    expected = -log_p[labelled, LABELS[labelled]].mean()
    codes_, labels = torch.from_numpy(CODES), torch.from_numpy(LABELS)
    assert made.cross_entropy(codes_, labels).item() == pytest.approx(expected, rel=1e-5)
    assert int(made.n_right(codes_, labels)) == int((scores.argmax(1) == LABELS).sum())


def test_unlabelled_examples_have_no_gradient() -> None:
    codes = torch.from_numpy(CODES).requires_grad_()
    (gradient,) = torch.autograd.grad(head().cross_entropy(codes, torch.from_numpy(LABELS)), codes)
    assert torch.equal((gradient != 0).any(1), torch.from_numpy(LABELS >= 0))
    none = head().cross_entropy(codes, torch.full((9,), -1))
    assert none.item() == 0.0


def test_codes_of_zero_give_no_nan() -> None:
    made = head(normalise=True)
    codes = torch.zeros(4, 5, requires_grad=True)
    loss = made.cross_entropy(codes, torch.tensor([0, 1, 2, -1]))
    gradients = torch.autograd.grad(loss, [codes, *made.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert torch.equal(made(codes), made.linear.bias.expand(4, 3))


def test_terms_of_an_objective_with_a_head(configure: Configure) -> None:
    made = build_parts(configure("model=ae"))
    whole = Objective(made.reconstruction, None, head=head(), head_weight=0.7)
    assert whole.term_names == ["loss", "reconstruction", "head", "head_raw"]
    x = torch.rand(9, 5)
    codes = torch.from_numpy(CODES)
    terms = whole(Pass(codes, codes, x, x), torch.zeros(9, 5), torch.from_numpy(LABELS))
    raw = head().cross_entropy(codes, torch.from_numpy(LABELS)).item()
    assert terms["head_raw"].item() == pytest.approx(raw)
    assert terms["loss"].item() == pytest.approx(float(x.square().mean()) + 0.7 * raw)


@pytest.mark.parametrize("n_kept", [10, 11, 37, 60])
def test_as_many_labels_of_each_class(n_kept: int) -> None:
    """Counts differ by at most one, and labels outside the training split stay as they are."""
    labels = torch.arange(100) % 10
    rows = torch.randperm(100, generator=Generator().manual_seed(1))[:80]
    # Class 3 has only two examples; the others make up for it.
    rows = rows[(labels[rows] != 3) | (torch.cumsum(labels[rows] == 3, 0) <= 2)]
    kept = keep_labels(labels, rows, n_kept, 10, Generator().manual_seed(2))
    others = torch.ones(100, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(kept[others], labels[others])
    assert int((kept[rows] >= 0).sum()) == n_kept
    assert ((kept == labels) | (kept == -1)).all()
    counts = torch.bincount(kept[rows][kept[rows] >= 0], minlength=10)
    there = torch.bincount(labels[rows], minlength=10)
    # A class with fewer labels than that has no more examples.
    lacking = counts < counts.max() - 1
    assert torch.equal(counts[lacking], there[lacking])
    assert bool(lacking[3]) == (n_kept > 30)


def test_an_example_without_a_label_keeps_none() -> None:
    """It takes the place of no other."""
    labels = torch.arange(100) % 5 - 1
    kept = keep_labels(labels, torch.arange(100), 40, 4, Generator().manual_seed(3))
    assert torch.bincount(kept[kept >= 0], minlength=4).tolist() == [10] * 4
    assert (kept[labels < 0] == -1).all()
    with pytest.raises(
        ConfigError, match=r"head\.n_labels=81 is more than the 80 training examples with"
    ):
        keep_labels(labels, torch.arange(100), 81, 4, Generator())


def test_a_class_without_a_label_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"head\.n_labels=9 leaves some of the 10 classes"):
        keep_labels(torch.arange(100) % 10, torch.arange(80), 9, 10, Generator())


ARMS = (
    ("model=ae", "head.unsupervised_terms=true"),
    ("model=ae", "schedule=none", "head.epochs=0"),
    ("model=stacked",),
    ("model=vae", "architecture.n_latents=3", "batch_size=16"),
)


def build_dataset(configure: Configure, *overrides: str) -> Dataset:
    heads = ("head=classifier", "head.fine_tune_epochs=2", "head.n_labels=53", "dataset.test=1500")
    config = configure(*overrides, *heads)
    return build_training(config, build_parts(config), read_dataset(config)).dataset


def test_every_arm_of_a_seed_keeps_the_same_labels(configure: Configure) -> None:
    full = read_dataset(configure("model=ae", "dataset.test=1500"))

    def kept(data: Dataset) -> Tensor:
        assert data.train.labels is not None
        return data.train.labels[data.train.rows]

    arms = [build_dataset(configure, *arm) for arm in ARMS]
    assert all(torch.equal(kept(arm), kept(arms[0])) for arm in arms)
    assert int((kept(arms[0]) >= 0).sum()) == 53
    assert not torch.equal(kept(build_dataset(configure, *ARMS[0], "seed=1")), kept(arms[0]))
    for arm in arms:
        for own, whole in ((arm.val, full.val), (arm.test, full.test)):
            assert own.labels is not None and whole.labels is not None
            assert torch.equal(own.labels[own.rows], whole.labels[whole.rows])


def test_what_is_refused(configure: Configure, tmp_path: Path) -> None:
    """The refusal comes before anything is trained, in one line."""
    np.save(tmp_path / "values.npy", CODES)
    array = ("dataset=array", f"dataset.path={tmp_path / 'values.npy'}", "batch_size=2")
    for overrides, says in [
        (array, r"head=classifier needs labels, and dataset=array has none"),
        (("head.n_labels=98", "dataset.test=1500"), r"head\.n_labels=98 is more than the 97"),
        (("head.epochs=0",), r"head\.epochs=0 and head\.fine_tune_epochs=0 leave"),
        (("schedule=none", "head=none"), r"schedule=none leaves training to a classifier"),
        (("model=lista", "head.fine_tune_epochs=1"), r"inferred codes do not depend on it"),
    ]:
        with pytest.raises(ConfigError, match=says) as refused:
            config = configure("model=ae", "head=classifier", *overrides)
            build_training(config, build_parts(config), read_dataset(config))
        assert "\n" not in str(refused.value)

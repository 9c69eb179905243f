"""Words at the end of a run: each is said where it is true and helps, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli.assembly.closing_notes import closing_notes
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.revival_notes import revival_notes
from sae_cli.assembly.stages import build_training
from sae_cli.datasets import Split
from sae_cli.datasets.look import Look, look_at
from tests.conftest import Command, Configure
from tests.contracts.small import MODELS

GOOD = {"train/dead_latents": 0, "train/l0": 7.0, "val/fvu": 0.2, "val/l0": 9.0}
NEAR = look_at(Split(torch.randn(50, 4), torch.arange(50)))
FAR = replace(NEAR, mean_over_spread=4.0)
SMALL = ("dataset.test=1500", "device=cpu")
FLAT = (1.0,) * 11


class Words:
    """The words on a run of these overrides with these figures."""

    def __init__(self, configure: Configure, *overrides: str) -> None:
        self.config = configure(*SMALL, *overrides)
        self.training = build_training(
            self.config, build_parts(self.config), read_dataset(self.config)
        )

    def of(
        self,
        losses: Sequence[float] = FLAT,
        *,
        share: float = 0.1,
        look: Look | None = None,
        resume: str | None = "sae-train resume=run",
        **final: float | None,
    ) -> list[str]:
        stage = self.training.stages[-1].name
        lines: list[dict[str, Any]] = [
            {"stage": stage, "epoch": i, "val/loss": loss, "val/penalty": share * loss}
            for i, loss in enumerate(losses)
        ]
        closing = GOOD | {key.replace("_", "/", 1): value for key, value in final.items()}
        return closing_notes(self.config, self.training, look, lines, closing, resume)


@pytest.mark.parametrize("page", ["sparse_l1", "sparse_kl", "vae", "sparse_coding", "ae", "conv"])
def test_a_good_run_has_no_word(page: str, configure: Configure) -> None:
    assert Words(configure, f"model={page}").of() == []


def test_dead_latents(configure: Configure) -> None:
    words = Words(configure, "model=sparse_l1")
    assert words.of(train_dead_latents=6) == []
    (note,) = words.of(train_dead_latents=7)
    assert note == (
        "note: 7 of 64 latents are dead, because no training example activates them: try a smaller "
        "optimizer.learning_rate or a smaller penalty.weight"
    )
    (note,) = Words(configure, "model=ae").of(train_dead_latents=30)
    assert note.endswith("try a smaller optimizer.learning_rate")
    words = Words(configure, "model=topk")
    (note,) = words.of(train_dead_latents=30)
    assert note.endswith("try revival=auxk or a smaller optimizer.learning_rate")


@pytest.mark.parametrize("page", MODELS)
def test_dead_latents_are_brought_back_only_where_a_training_takes_it(
    page: str, configure: Configure
) -> None:
    for note in Words(configure, f"model={page}").of(train_dead_latents=64):
        if "revival=auxk" in note:
            build_parts(configure(f"model={page}", "revival=auxk"))


@pytest.mark.parametrize(
    "given",
    [
        ("model=topk", "revival=auxk"),
        ("model=topk", "revival=resample"),
        ("model=topk", "head=classifier"),
        ("model=topk", "optimizer=lbfgs"),
        ("model=sparse_l1",),
        ("model=tied", "activation=relu", "architecture.output_activation=sigmoid"),
    ],
)
def test_what_would_not_be_taken_is_not_named(given: Sequence[str], configure: Configure) -> None:
    notes = Words(configure, *given).of(train_dead_latents=60)
    assert not any("auxk" in note.partition("try")[2] for note in notes)


@pytest.mark.parametrize(
    "page",
    # Sigmoids are never 0, codes of a vae are drawn, those of sparse coding inferred, and those of
    # a convolution have a place each.
    ["sparse_kl", "sparse_target", "vae", "sparse_coding", "psd", "lista", "conv"],
)
def test_dead_latents_are_not_said_where_they_mean_nothing(page: str, configure: Configure) -> None:
    assert Words(configure, f"model={page}").of(train_dead_latents=30) == []


def test_a_centre_is_named_where_it_helps(configure: Configure, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 64)))
    path = f"dataset.path={tmp_path / 'x.npy'}"
    given = ("model=sparse_l1", "dataset=array", path, "dataset.test=0.1")
    words = Words(configure, *given)
    for final in ({"train_dead_latents": 30}, {"val_fvu": 1.5}):
        (note,) = words.of(look=FAR, **final)
        assert "try dataset.centre=mean, " in note
        (note,) = words.of(look=NEAR, **final)
        assert "centre" not in note
    centred = Words(configure, *given, "dataset.centre=mean")
    (note,) = centred.of(look=FAR, train_dead_latents=30)
    assert "centre" not in note


def test_no_better_than_the_mean(configure: Configure) -> None:
    words = Words(configure, "model=sparse_l1")
    (note,) = words.of(val_fvu=1.25)
    assert note.startswith("note: val/fvu is 1.25, and the mean of the examples in place of each")
    assert words.of(val_fvu=0.99) == []
    # It has no value where all examples are alike: NaN, or null where a run was resumed.
    assert words.of(val_fvu=float("nan")) == []
    assert words.of(val_fvu=None) == []


def test_reconstructions_that_nobody_trained_are_not_judged(configure: Configure) -> None:
    head = ("model=sparse_l1", "head=classifier", "head.epochs=1")
    for given, said in (
        ((*head, "head.fine_tune_epochs=0"), True),
        ((*head, "head.fine_tune_epochs=1", "head.unsupervised_terms=true"), True),
        ((*head, "head.fine_tune_epochs=1", "head.unsupervised_terms=false"), False),
        ((*head, "head.fine_tune_epochs=0", "schedule=none"), False),
    ):
        assert bool(Words(configure, *given).of(val_fvu=2.0)) == said, given


def test_a_loss_that_still_falls(configure: Configure) -> None:
    words = Words(configure, "model=sparse_l1")
    falling = [0.9**epoch for epoch in range(21)]
    assert words.of(falling) == [
        "note: the validation loss still fell by 19.0% in the last 2 of 20 epochs: try more epochs "
        "(sae-train resume=run epochs=40 trains on)"
    ]
    assert words.of(falling[:5]) == []
    assert "in the last epoch: try" in words.of(falling[:6])[0]
    assert words.of([0.999**epoch for epoch in range(21)]) == []
    # One bad epoch, and back to where it was.
    assert words.of([1.0] * 19 + [1.5, 1.0]) == []
    assert words.of([-1.0 * epoch for epoch in range(21)]) == []
    cosine = Words(configure, "model=sparse_l1", "lr_schedule=cosine").of(falling)
    assert cosine[0].endswith("try more epochs")
    # A job of a sweep cannot be extended.
    assert words.of(falling, resume=None)[0].endswith("try more epochs")


def test_a_penalty_without_effect(configure: Configure) -> None:
    words = Words(configure, "model=sparse_kl")
    assert words.of(share=2e-4) == [
        "note: the penalty was never more than 0.0002 of the loss: try a larger penalty.weight"
    ]
    assert words.of(share=2e-3) == []
    assert Words(configure, "model=sparse_kl", "penalty.weight=0").of(share=0.0) == []
    assert Words(configure, "model=ae").of(share=0.0) == []


def test_l1_without_zeros(configure: Configure) -> None:
    tanh = Words(configure, "model=sparse_l1", "activation=tanh")
    assert tanh.of(val_l0=64.0) == [
        "note: every example activates all 64 latents in spite of penalty=l1: try activation=relu, "
        "whose codes can be 0"
    ]
    assert "try a larger penalty.weight" in Words(configure, "model=sparse_l1").of(val_l0=64.0)[0]
    assert tanh.of(val_l0=63.9) == []
    # Group sparsity is of pools, and its codes need not be 0.
    assert Words(configure, "model=topographic").of(val_l0=64.0) == []


def test_an_array_far_from_zero_is_warned_of_and_mended(command: Command, tmp_path: Path) -> None:
    """Activations whose mean is 4 times the spread kill latents; centred, none dies."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(32, 64))
    x = (rng.random((512, 32)) * (rng.random((512, 32)) < 0.15)) @ atoms
    x -= x.mean(0)
    spread = np.sqrt((x**2).sum(1).mean())
    mean = rng.normal(size=64)
    mean *= 4.0 * spread / np.linalg.norm(mean)
    np.save(tmp_path / "far.npy", (x + mean) * 8.0 / spread)
    given = (
        *("model=sparse_l1", "dataset=array", "dataset.path=far.npy", "epochs=20"),
        *("pictures=false", "progress=false"),
    )
    out = command(*given, "hydra.run.dir=far").stdout
    before, _, after = out.partition("epoch  0/20")
    assert "note: the mean is 4 times the spread: dataset.centre=mean would remove it" in before
    assert "latents are dead, because no training example activates them: try dataset.c" in after
    centred = command(*given, "dataset.centre=mean", "hydra.run.dir=near").stdout
    (dead,) = [line.split() for line in centred.splitlines() if line.startswith("dead_latents")]
    assert dead == ["dead_latents", "0", "0", "0"]
    assert "are dead" not in centred
    assert "note: the mean" not in centred
    log = (tmp_path / "far" / "train.log").read_text()
    assert "latents are dead" in log
    assert "note: the mean is 4 times" in log


def test_a_weight_that_is_tuned_is_not_spoken_of(configure: Configure) -> None:
    words = Words(configure, "model=sparse_l1", "penalty.target_l0=5")
    (note,) = words.of(train_dead_latents=30)
    assert note.endswith("try a smaller optimizer.learning_rate")
    # The weight moves the loss by itself, and may be small.
    assert words.of([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], share=1e-6) == []


@pytest.mark.parametrize(("epochs", "said"), [(5, True), (12, False)])
def test_a_revival_that_never_acts(epochs: int, said: bool, configure: Configure) -> None:
    """Of 200 examples 5 epochs are 1 000 and 12 are 2 400."""
    own = ("model=topk", "revival=auxk", "revival.dead_after=2000", f"epochs={epochs}")
    words = Words(configure, *own, "dataset.val=97").of(train_dead_latents=2)
    assert Words(configure, *own, "dataset.val=97").of() == []
    n = len(Words(configure, *own, "dataset.val=97").training.dataset.train)
    assert n == 200
    assert (
        words
        == [
            "note: revival=auxk never acted, because a latent counts as dead after "
            f"revival.dead_after=2000 examples, and {epochs * n} were trained on: try more epochs "
            "or a smaller revival.dead_after"
        ]
        * said
    )


@pytest.mark.parametrize(("every", "said"), [(41, True), (40, False)])
def test_a_resampling_that_is_never_due(every: int, said: bool, configure: Configure) -> None:
    """Of 200 examples in batches of 25, 5 epochs have 40 steps."""
    own = ("model=topk", "revival=resample", "revival.dead_after=9", f"revival.every={every}")
    words = Words(configure, *own, "dataset.val=97", "batch_size=25", "epochs=5")
    assert words.of() == []
    assert (
        words.of(train_dead_latents=2)
        == [
            "note: revival=resample never acted, because it acts every revival.every=41 steps, and "
            "there were 40: try more epochs or a smaller revival.every"
        ]
        * said
    )


@pytest.mark.parametrize(
    ("activation", "said"),
    [
        (("sigmoid",), True),
        (("softplus",), True),
        (("tanh",), True),
        (("relu",), True),
        (("relu", "activation.active_above=0.1"), False),
        (("topk", "activation.k=3"), False),
        (("jumprelu",), False),
    ],
)
def test_a_revival_with_nothing_to_work_with(
    activation: Sequence[str], said: bool, configure: Configure
) -> None:
    """The term takes what is above 0 of the pre-codes of latents whose codes are inactive."""
    name, *options = activation
    words = Words(configure, "model=topk", "revival=auxk", f"activation={name}", *options)
    model = words.training.autoencoder
    pre_codes = torch.logspace(-20, 2, model.n_latents).unsqueeze(0)
    inactive = model.activation(pre_codes).abs() <= model.activation.active_above
    assert bool(inactive.any()) != said
    assert (
        revival_notes(words.training)
        == [
            "note: revival=auxk needs dead latents whose pre-codes are above 0, and activation="
            f"{name} has none: try activation=topk, or revival=none"
        ]
        * said
    )


def overfitting(
    configure: Configure, *overrides: str, val: Sequence[float], before: float = 9.0
) -> list[str]:
    """The words on a run whose training loss falls by a tenth an epoch.

    Args:
        before: the loss of validation before the first epoch.
    """
    words = Words(configure, *overrides)
    name = words.training.stages[-1].name
    lines: list[dict[str, Any]] = [{"stage": name, "epoch": 0, "val/loss": before}]
    lines += [
        {"stage": name, "epoch": i, "val/loss": loss, "train/loss": 0.9**i}
        for i, loss in enumerate(val, start=1)
    ]
    return closing_notes(words.config, words.training, None, lines, GOOD, None)


def test_a_loss_of_validation_that_rises(configure: Configure) -> None:
    rising = (2.0, 1.5, 1.0, 1.02, 1.03, 1.05, 1.07, 1.06, 1.08, 1.1)
    assert overfitting(configure, "model=topk", val=rising) == [
        "note: the validation loss has risen by 8.0% since epoch 3, while that of training fell: "
        "try more examples, fewer epochs or a smaller architecture.expansion_factor; "
        "checkpoint=best of sae-evaluate has the weights of that epoch"
    ]
    # The weights that the stage began with were the best, and its training has gone below them.
    (note,) = overfitting(configure, "model=topk", val=rising, before=0.9)
    assert note.startswith("note: the validation loss has risen by 20.0% since epoch 0, while")
    # A rate that was too large has spoilt the training, too: its loss is 0.35 in the end.
    assert overfitting(configure, "model=topk", val=rising, before=0.3) == []
    # A first step spoilt the weights, and the loss has not come back to where it was.
    falling = (2.0, 1.5, 1.4, 1.3, 1.2, 1.1, 1.09, 1.08, 1.07, 1.06)
    assert not any("risen" in note for note in overfitting(configure, "model=topk", val=falling))
    back = overfitting(configure, "model=topk", val=falling, before=0.9)
    assert not any("risen" in note for note in back)
    # By chance in the last epoch, by little, or of classes.
    assert overfitting(configure, "model=topk", val=(*rising[:3], *(1.0,) * 6, 1.1)) == []
    assert overfitting(configure, "model=topk", val=(*rising[:3], *(1.02,) * 7)) == []
    assert overfitting(configure, "model=topk", val=(2.0, 1.0, 0.9, 0.8, 0.8, 0.83)) == []
    assert overfitting(configure, "model=ae", "head=classifier", val=rising) == []


def test_more_active_codes_than_were_asked_for(configure: Configure) -> None:
    """Only a threshold that was learned of other examples can let them through."""
    words = Words(configure, "model=batch_topk", "activation.k=8")
    assert words.of(val_l0=10.0) == []
    # A threshold that training examples exceed, too, is still being learned.
    assert words.of(val_l0=10.1, train_l0=9.0) == []
    assert words.of(val_l0=10.1) == [
        "note: val/l0 is 10.1 where activation.k=8, because the threshold was learned from "
        "training examples, and lets more codes of others through: try more examples or fewer "
        "epochs"
    ]
    assert Words(configure, "model=sparse_l1").of(val_l0=60.0) == []

"""Supervision: how labels train a classifier of the codes, and through it the encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, Natural, NonNegative, Positive
from sae_cli.core.registry import Registry
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.head import UNLABELLED, Head
from sae_cli.model.objective import Objective
from sae_cli.training.stage import Stage

HEADS: Registry[Supervision | None] = Registry("head")


@HEADS.register("none")
def none() -> None:
    """No classifier."""


@HEADS.register("classifier")
@dataclass(frozen=True, kw_only=True)
class Supervision:
    """A linear classifier of the codes, trained after the auto-encoder.

    First alone, on the codes of the frozen encoder, without corruption, on the examples that have
    labels; then, for ``fine_tune_epochs``, together with the encoder.

    Attributes:
        weight: multiplies its cross-entropy in the loss.
        n_labels: how many training examples keep their labels; None for all. As many of each class
            as can be, drawn by the run's seed.
        normalise: classify codes scaled to unit norm.
        max_row_norm: bound on the norm of each class's weights, or None.
        epochs: of the head alone; 0 leaves that stage out.
        learning_rate: of that stage.
        fine_tune_epochs: of head and encoder together; 0 leaves that stage out.
        fine_tune_learning_rate: of that stage.
        unsupervised_terms: fine-tuning keeps reconstruction and penalty in the loss, and takes all
            examples; else it is of the labelled ones and their classes alone.
    """

    weight: NonNegative
    n_labels: Count | None
    normalise: bool
    max_row_norm: Positive | None
    epochs: Natural
    learning_rate: Positive
    fine_tune_epochs: Natural
    fine_tune_learning_rate: Positive
    unsupervised_terms: bool

    def __post_init__(self) -> None:
        if not self.epochs and not self.fine_tune_epochs:
            raise ConfigError(
                "head.epochs=0 and head.fine_tune_epochs=0 leave the classifier untrained; give "
                "one of them a number, or head=none"
            )

    def head(self, n_latents: int, n_classes: int, generator: Generator) -> Head:
        """The classifier with its initial weights."""
        return Head(
            n_latents,
            n_classes,
            normalise=self.normalise,
            max_row_norm=self.max_row_norm,
            generator=generator,
        )

    def stages(self, autoencoder: AutoEncoder, objective: Objective) -> list[Stage]:
        """The stages that follow those of the auto-encoder itself.

        Args:
            objective: with all terms.
        """
        head = objective.head
        assert head is not None
        alone = Objective(None, None, head=head, head_weight=self.weight)
        stages = []
        if self.epochs:
            stages.append(
                Stage(
                    "head",
                    autoencoder,
                    alone,
                    (),
                    self.epochs,
                    self.learning_rate,
                    trained=tuple(head.parameters()),
                    supervised=True,
                    learning_rate_key="head.learning_rate",
                )
            )
        if self.fine_tune_epochs:
            every = (*autoencoder.encoder.parameters(), *head.parameters())
            encoder = tuple(parameter for parameter in every if parameter.requires_grad)
            stages.append(
                Stage(
                    "fine_tune_head",
                    autoencoder,
                    objective if self.unsupervised_terms else alone,
                    (),
                    self.fine_tune_epochs,
                    self.fine_tune_learning_rate,
                    trained=None if self.unsupervised_terms else encoder,
                    supervised=not self.unsupervised_terms,
                    learning_rate_key="head.fine_tune_learning_rate",
                )
            )
        return stages


def keep_labels(
    labels: Tensor, rows: Tensor, n_kept: int, n_classes: int, generator: Generator
) -> Tensor:
    """A copy of ``labels`` with -1 for all rows of ``rows`` but ``n_kept`` of them.

    Each class keeps as many as any other, or one less where they cannot be shared out evenly (or
    all that it has).

    Args:
        labels: ``(n_stored,)`` int64.
        rows: ``(n,)`` int64, those of the training split.

    Raises:
        ConfigError: there are fewer examples, or more classes.
    """
    if n_kept < n_classes:
        raise ConfigError(
            f"head.n_labels={n_kept} leaves some of the {n_classes} classes without a label; give "
            f"at least {n_classes}, or null for all"
        )
    if n_kept > len(rows):
        raise ConfigError(
            f"head.n_labels={n_kept} is more than the {len(rows)} training examples; give at most "
            "that many, or null for all"
        )
    shuffled = rows[torch.randperm(len(rows), generator=generator)]
    own = labels[shuffled]
    # The first of each class, then the second of each, and so on.
    rank = torch.empty_like(own)
    for label in range(n_classes):
        of_label = own == label
        rank[of_label] = torch.arange(int(of_label.sum()))
    kept = shuffled[torch.argsort(rank, stable=True)[:n_kept]]
    result = labels.clone()
    result[rows] = UNLABELLED
    result[kept] = labels[kept]
    return result

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

    It is first trained alone, on the frozen encoder's codes of labelled examples; then, for
    ``fine_tune_epochs``, together with the encoder.

    Attributes:
        weight: multiplies its cross-entropy in the loss.
        n_labels: how many training examples keep their labels, drawn by the run's seed and shared
            out evenly among the classes; None for all.
        classes: the classes that it learns, at least two: examples of others have no label, in any
            split; None for all.
        self_taught: train the auto-encoder only on examples of the other classes (Raina et al.
            2007).
        weight_decay: of the optimizer in these two stages; None for that of the others.
        normalise: classify codes scaled to unit norm.
        max_row_norm: bound on the norm of each class's weights, or None.
        epochs: of training the head alone; 0 leaves that stage out.
        learning_rate: of that stage.
        fine_tune_epochs: of training head and encoder together; 0 leaves that stage out.
        fine_tune_learning_rate: of that stage.
        unsupervised_terms: whether fine-tuning keeps reconstruction and penalty in its loss, and
            takes all examples; if not, it learns classes alone, from the labelled examples.
        corrupted: learn classes from corrupted examples, as the auto-encoder learns from them,
            and not from clean ones. Training that keeps the reconstruction is always corrupted.
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
    classes: list[Natural] | None = None
    self_taught: bool = False
    weight_decay: NonNegative | None = None
    corrupted: bool = False

    def __post_init__(self) -> None:
        if not self.epochs and not self.fine_tune_epochs:
            raise ConfigError(
                "head.epochs=0 and head.fine_tune_epochs=0 leave the classifier untrained; give "
                "one of them a number above 0, or choose head=none"
            )
        if self.classes is not None and len({*self.classes}) < max(2, len(self.classes)):
            raise ConfigError(
                f"head.classes={self.classes}: give two classes or more, each once, or null for all"
            )
        if self.self_taught and self.classes is None:
            raise ConfigError(
                "head.self_taught=true trains the auto-encoder on the classes that are not in "
                "head.classes, and head.classes=null leaves none; give some classes, or "
                "head.self_taught=false"
            )

    def build_head(self, n_latents: int, n_classes: int, generator: Generator) -> Head:
        """Make the classifier, with initial weights."""
        return Head(
            n_latents,
            n_classes,
            normalise=self.normalise,
            max_row_norm=self.max_row_norm,
            generator=generator,
        )

    def stages(self, autoencoder: AutoEncoder, objective: Objective) -> list[Stage]:
        """Make the stages that follow those of the auto-encoder itself.

        Args:
            objective: of the whole network, with all terms.
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
                    weight_decay=self.weight_decay,
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
                    weight_decay=self.weight_decay,
                    learning_rate_key="head.fine_tune_learning_rate",
                )
            )
        return stages


def keep_labels(
    labels: Tensor, rows: Tensor, n_kept: int, n_classes: int, generator: Generator
) -> Tensor:
    """Give a copy of ``labels`` that keeps ``n_kept`` of those in ``rows``; the others become -1.

    An example without a label keeps none.

    Classes keep equally many, or one less where the number cannot be shared out evenly; a class
    with fewer examples keeps all its labels.

    Args:
        labels: ``(n_stored,)`` int64.
        rows: ``(n,)`` int64, the rows of the training split.
        n_classes: that have labels.

    Raises:
        ConfigError: there are fewer examples than ``n_kept``, or more classes.
    """
    rows = rows[labels[rows] != UNLABELLED]
    if n_kept < n_classes:
        raise ConfigError(
            f"head.n_labels={n_kept} leaves some of the {n_classes} classes without a label; give "
            f"at least {n_classes}, or null for all"
        )
    if n_kept > len(rows):
        raise ConfigError(
            f"head.n_labels={n_kept} is more than the {len(rows)} training examples with a label; "
            "give at most that many, or null for all"
        )
    shuffled = rows[torch.randperm(len(rows), generator=generator)]
    own = labels[shuffled]
    # Sorting by rank takes the first of each class, then the second of each, and so on.
    rank = torch.empty_like(own)
    for label in set(own.tolist()):
        of_label = own == label
        rank[of_label] = torch.arange(int(of_label.sum()))
    kept = shuffled[torch.argsort(rank, stable=True)[:n_kept]]
    result = labels.clone()
    result[rows] = UNLABELLED
    result[kept] = labels[kept]
    return result

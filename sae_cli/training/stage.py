"""A stage: one training of one auto-encoder to one objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from sae_cli.datasets import Split
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.training.corruptions import Corruption


@dataclass(frozen=True)
class Stage:
    """One training of one auto-encoder.

    Attributes:
        name: shown in progress, metrics and checkpoints.
        autoencoder: what is trained.
        objective: what it is trained to.
        below: auto-encoders, from the input on, whose frozen codes are the stage's data.
        epochs: passes over the data.
        learning_rate: for the optimizer, before its schedule.
        trained: the parameters that move; None for all of the auto-encoder and the objective.
        supervised: whether the stage learns classes alone, from labelled examples.
        rows: ``(n,)`` int64, the rows of the training split that it uses; None for all.
        weight_decay: of its optimizer; None for what the optimizer's own options say.
        learning_rate_key: the key of the configuration that gives its learning rate.
        corruption: of its input, or None.
    """

    name: str
    autoencoder: AutoEncoder
    objective: Objective
    below: Sequence[AutoEncoder]
    epochs: int
    learning_rate: float
    trained: Sequence[nn.Parameter] | None = None
    supervised: bool = False
    rows: Tensor | None = None
    weight_decay: float | None = None
    learning_rate_key: str = "optimizer.learning_rate"
    corruption: Corruption | None = None

    def examples(self, train: Split) -> Split:
        """Select the training examples that the stage uses."""
        if self.rows is not None:
            train = replace(train, rows=self.rows.to(train.rows.device))
        return train.labelled() if self.supervised else train

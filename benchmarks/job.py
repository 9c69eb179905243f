"""The jobs that every contender trains, defined once, by the standard library alone.

Fashion-MNIST, pixels / 255: the first 55 000 training images to train, the last 5 000 to validate.
The loss is the binary cross-entropy averaged over pixels and examples, plus the page's penalty.
Weights are Glorot uniform, biases zero, hidden layers SELU, the output a sigmoid.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

N_TRAIN, N_VAL, N_FEATURES = 55_000, 5_000, 784
# All contenders evaluate in batches of this size, as sae-train does.
EVALUATION_BATCH = 1024
# The first is the KL penalty's target activity; Keras has another default for Adam's epsilon.
KL_TARGET = 0.1
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Page:
    """One job.

    Attributes:
        name: in the tables.
        overrides: the arguments of sae-train for it.
        n_latents, latent_activation: of the code, between hidden layers of 100.
        penalty: ``kl``, ``weight / batch size * sum_j KL(0.1 || mean of latent j in the batch)``;
            ``l1``, ``weight * mean over examples of sum_j |a_j|``; or none.
        noise: standard deviation of the normal noise on the input of a training step.
    """

    name: str
    overrides: tuple[str, ...]
    n_latents: int
    latent_activation: Literal["sigmoid", "selu"]
    penalty: Literal["kl", "l1", "none"] = "none"
    penalty_weight: float = 0.0
    noise: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 1.0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of the layers, input and output included."""
        return N_FEATURES, 100, self.n_latents, 100, N_FEATURES


_KL = ("experiment=hands_on_sparse_kl",)
_ADAM = (*_KL, "optimizer=adam", "optimizer.learning_rate=0.001")
PAGES = {
    page.name: page
    for page in (
        Page("sparse_kl", _KL, 300, "sigmoid", "kl", 0.05),
        Page("sparse_l1", ("experiment=hands_on_sparse_l1",), 300, "sigmoid", "l1", 0.001),
        Page("denoising", ("experiment=hands_on_denoising",), 30, "selu", noise=0.2),
        Page("stacked", ("experiment=hands_on_stacked",), 30, "selu", learning_rate=1.5),
        Page("adam", _ADAM, 300, "sigmoid", "kl", 0.05, optimizer="adam", learning_rate=0.001),
    )
}


def multiply_adds(sizes: tuple[int, ...], n_train: int, n_val: int) -> int:
    """Count the multiplications in the matrix products of one epoch, its evaluation included.

    An evaluation multiplies by each weight once. A training step does so three times: forward, for
    the weight's gradient, and for the gradient below, which the first layer does not need.
    """
    weights = [n_in * n_out for n_in, n_out in pairwise(sizes)]
    return n_train * (3 * sum(weights) - weights[0]) + n_val * sum(weights)


def arguments(description: str) -> argparse.ArgumentParser:
    """Make the parser of every contender's script: page, batch size, epochs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("page", type=PAGES.__getitem__, metavar="PAGE")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("epochs", type=int)
    return parser


def report(epoch: int, val_loss: float | None, rounded_accuracy: float | None) -> None:
    """Print the line that ends an epoch; the process that measures notes when it arrives."""
    line = {"epoch": epoch, "val_loss": val_loss, "rounded_accuracy": rounded_accuracy}
    print(json.dumps(line), flush=True)

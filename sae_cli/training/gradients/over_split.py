"""The gradient of an objective over a whole split, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.core.ranks.together import trained_alone
from sae_cli.datasets import Split
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.objective import Objective, Terms
from sae_cli.model.penalties.penalty import ExamplePenalty
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import trained_parameters
from sae_cli.training.shares import Joining


@final
class OverSplit:
    """The terms over all examples of a split together, and the derivative of their loss.

    A penalty of a mean activity takes the mean over the whole split. Every term is a function of
    means over examples, and the gradient is the derivative of the loss by each mean, times that of
    the mean by the parameters. Where the former depends on the means, a pass over all examples
    finds them first.

    Args:
        size: of a batch; it bounds the memory, and changes nothing but the rounding.
        parameters: by which to differentiate; None for all that are not fixed.
        joining: the processes that share the split, each of which computes some of its rows; None
            where this one computes all.

    Attributes:
        joining: as given.
    """

    def __init__(
        self,
        autoencoder: AutoEncoder,
        objective: Objective,
        device: Device,
        split: Split,
        size: int,
        parameters: Sequence[nn.Parameter] | None = None,
        joining: Joining | None = None,
    ) -> None:
        found = trained_parameters(autoencoder, objective) if parameters is None else parameters
        self.parameters = list(found)
        self.term_names = objective.term_names
        self._autoencoder = autoencoder
        self._objective = objective
        self._device = device
        self.joining = joining
        self._split, self._weight = split, 1.0
        self._n, self._n_labelled = len(split), 0 if split.labels is None else len(split.labelled())
        if joining is not None:
            share = joining.share_of(len(split))
            self._split = replace(split, rows=split.rows[share.rows])
            # It is less than 1 where there are so few rows that each process has all of them.
            self._weight = share.weight * len(split) / len(self._split)
        self._size = size
        self._every = torch.arange(len(self._split))
        # The loss is a sum of means, or there is only one batch.
        linear = objective.penalty is None or isinstance(objective.penalty, ExamplePenalty)
        self._alike = linear or (joining is None and size >= len(split))

    def __call__(self) -> tuple[Terms, list[Tensor]]:
        """Give the terms (float64 scalars, ``loss`` among them), and the gradient of the loss with
        respect to each of ``parameters``."""
        # The batches are this process's own, and no other has as many.
        with trained_alone():
            return self._differentiate()

    def _differentiate(self) -> tuple[Terms, list[Tensor]]:
        of_all = None if self._alike else self._means()
        means: dict[str, Tensor] = {}
        sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        for own in self._of_batches(grad=True):
            shares = {name: share.detach() for name, share in own.items()}
            slopes = self._slopes(of_all or shares)
            with torch.enable_grad():
                loss = torch.stack([(slopes[name] * own[name]).sum() for name in own]).sum()
            found = torch.autograd.grad(
                loss, self.parameters, allow_unused=True, materialize_grads=True
            )
            for total, gradient in zip(sums, found, strict=True):
                total.add_(gradient)
            means = _add(means, shares)
        means, sums = self._joined(means, sums)
        return self._objective.terms(means), sums

    def _joined(
        self, means: dict[str, Tensor], sums: list[Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Sum what all processes have found of their rows."""
        return (means, sums) if self.joining is None else self.joining.join(means, sums, 1.0)

    def _slopes(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the derivative of the loss by each mean."""
        means = {name: mean.clone().requires_grad_() for name, mean in means.items()}
        with torch.enable_grad():
            loss = self._objective.terms(means)["loss"]
        slopes = torch.autograd.grad(loss, [*means.values()])
        return dict(zip(means, slopes, strict=True))

    def _means(self) -> dict[str, Tensor]:
        """Give the means over the split, in float64."""
        means: dict[str, Tensor] = {}
        for own in self._of_batches(grad=False):
            means = _add(means, own)
        return self._joined(means, [])[0]

    def _of_batches(self, *, grad: bool) -> Iterator[dict[str, Tensor]]:
        """Give each batch's share of the means over the split, in float64."""
        labels = self._split.shuffled_labels(self._every, self._size)
        for target, own in zip(self._split.batches(self._size), labels, strict=True):
            with torch.set_grad_enabled(grad):
                passed = self._device.run(self._autoencoder, target)
                shares = self._shares(passed, target, own)
            yield shares

    def _shares(self, passed: Pass, target: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        means = self._objective.means(passed, target, labels, training=True)
        share = self._weight * len(target) / self._n
        shares = dict.fromkeys(means, share)
        if labels is not None:
            # The head's mean is over the labelled examples alone.
            known = int((labels >= 0).sum())
            shares["head"] = self._weight * known / max(1, self._n_labelled)
        return {name: mean.double() * shares[name] for name, mean in means.items()}


def _add(sums: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: share + sums.get(name, 0.0) for name, share in own.items()}

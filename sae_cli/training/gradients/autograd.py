"""Gradients by PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective, Terms
from sae_cli.training.devices import Device
from sae_cli.training.gradients.gradients import Gradients


@final
class Autograd(Gradients):
    """Gradients by autograd, whatever the auto-encoder is made of.

    Args:
        parameters: by which to differentiate; None for all that are not fixed.
        training: whether codes are those of training, from which the activation may learn; those
            of use otherwise.
    """

    def __init__(
        self,
        autoencoder: AutoEncoder,
        objective: Objective,
        device: Device,
        parameters: Sequence[nn.Parameter] | None = None,
        *,
        training: bool = True,
    ) -> None:
        self.parameters = (
            trained_parameters(autoencoder, objective) if parameters is None else parameters
        )
        self.capturable = autoencoder.infer is None
        self.term_names = objective.term_names
        self._autoencoder = autoencoder
        self._objective = objective
        self._device = device
        self._training = training

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        passed = self._device.run(self._autoencoder, x, noise, self._training)
        terms: Terms = self._objective(passed, target, labels)
        gradients = torch.autograd.grad(
            terms["loss"], self.parameters, allow_unused=True, materialize_grads=True
        )
        if self._training:
            self._autoencoder.learn_(passed.activated)
            self._objective.watch_(passed)
        detached = {name: value.detach() for name, value in terms.items()}
        return detached, lay_out(gradients, self.parameters)


def trained_parameters(autoencoder: AutoEncoder, objective: Objective) -> list[nn.Parameter]:
    """The parameters that are not fixed."""
    every = (*autoencoder.parameters(), *objective.parameters())
    return [parameter for parameter in every if parameter.requires_grad]


def lay_out(gradients: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Lay out each gradient in memory as its parameter is, because fused optimizers go through
    both side by side without looking at strides."""
    return [
        gradient
        if gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]

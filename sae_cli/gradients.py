"""Gradients: the terms of the loss of one batch, and how each parameter changes the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.autoencoder import AutoEncoder, Pass
from sae_cli.objective import Objective

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Device:
    """Where and how precisely to compute.

    Attributes:
        torch: the device.
        bfloat16: run the auto-encoder under bfloat16 autocast; losses stay float32.
    """

    torch: torch.device
    bfloat16: bool = False

    def run(self, autoencoder: AutoEncoder, x: Tensor) -> Pass:
        """One forward pass, its results in float32."""
        if not self.bfloat16:
            passed: Pass = autoencoder(x)
            return passed
        with torch.autocast(self.torch.type, torch.bfloat16):
            passed = autoencoder(x)
        return Pass(*(made.float() for made in passed))


class Gradients(ABC):
    """Differentiates an objective.

    Attributes:
        parameters: by which to differentiate.
        term_names: of the terms of the loss.
    """

    parameters: Sequence[nn.Parameter]
    term_names: Sequence[str]

    @abstractmethod
    def __call__(self, x: Tensor, target: Tensor) -> tuple[Terms, list[Tensor]]:
        """Differentiate the loss of one batch.

        Args:
            x: ``(batch, *input_shape)``, the input, corrupted or not.
            target: ``(batch, *input_shape)``, what to reconstruct.

        Returns:
            the terms (scalars, ``loss`` among them), and the gradient of the loss with respect to
            each of ``parameters``.
        """


@final
class Autograd(Gradients):
    """Whatever the auto-encoder is made of."""

    def __init__(self, autoencoder: AutoEncoder, objective: Objective, device: Device) -> None:
        self.parameters = [*autoencoder.parameters(), *objective.parameters()]
        self.term_names = objective.term_names
        self._autoencoder = autoencoder
        self._objective = objective
        self._device = device

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Terms, list[Tensor]]:
        terms: Terms = self._objective(self._device.run(self._autoencoder, x), target)
        gradients = torch.autograd.grad(
            terms["loss"], self.parameters, allow_unused=True, materialize_grads=True
        )
        detached = {name: value.detach() for name, value in terms.items()}
        return detached, laid_out(gradients, self.parameters)


def laid_out(gradients: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, each in memory as its parameter is: fused optimizers go through both side by
    side without looking at strides."""
    return [
        gradient
        if gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]

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

    def run(self, autoencoder: AutoEncoder, x: Tensor, noise: Tensor | None = None) -> Pass:
        """One forward pass, its results in float32; ``noise`` as the auto-encoder takes it."""
        if not self.bfloat16:
            passed: Pass = autoencoder(x, noise)
            return passed
        with torch.autocast(self.torch.type, torch.bfloat16):
            passed = autoencoder(x, noise)
        return Pass(*(None if made is None else made.float() for made in passed))  # type: ignore[arg-type]


class Gradients(ABC):
    """Differentiates an objective.

    Attributes:
        parameters: by which to differentiate.
        term_names: of the terms of the loss.
        capturable: whether nothing is read back from the device meanwhile.
    """

    parameters: Sequence[nn.Parameter]
    term_names: Sequence[str]
    capturable: bool = True

    @abstractmethod
    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        """Differentiate the loss of one batch.

        Args:
            x: ``(batch, *input_shape)``, the input, corrupted or not.
            target: ``(batch, *input_shape)``, what to reconstruct.
            labels: ``(batch,)`` int64, for an objective with a head.
            noise: ``(batch, n_latents)``, standard normal, for an activation that samples.

        Returns:
            the terms (scalars, ``loss`` among them), and the gradient of the loss with respect to
            each of ``parameters``.
        """


@final
class Autograd(Gradients):
    """Whatever the auto-encoder is made of.

    Args:
        parameters: by which to differentiate; None for all that are to be trained.
    """

    def __init__(
        self,
        autoencoder: AutoEncoder,
        objective: Objective,
        device: Device,
        parameters: Sequence[nn.Parameter] | None = None,
    ) -> None:
        self.parameters = all_trained(autoencoder, objective) if parameters is None else parameters
        self.capturable = autoencoder.infer is None
        self.term_names = objective.term_names
        self._autoencoder = autoencoder
        self._objective = objective
        self._device = device

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        passed = self._device.run(self._autoencoder, x, noise)
        terms: Terms = self._objective(passed, target, labels)
        gradients = torch.autograd.grad(
            terms["loss"], self.parameters, allow_unused=True, materialize_grads=True
        )
        detached = {name: value.detach() for name, value in terms.items()}
        return detached, laid_out(gradients, self.parameters)


def all_trained(autoencoder: AutoEncoder, objective: Objective) -> list[nn.Parameter]:
    """The parameters that are not fixed."""
    every = (*autoencoder.parameters(), *objective.parameters())
    return [parameter for parameter in every if parameter.requires_grad]


def laid_out(gradients: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, each in memory as its parameter is: fused optimizers go through both side by
    side without looking at strides."""
    return [
        gradient
        if gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]

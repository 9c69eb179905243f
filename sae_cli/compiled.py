"""Gradients by a compiled program: the pass, the loss and its derivative in one function."""

from __future__ import annotations

import logging
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from sae_cli.autoencoder import AutoEncoder
from sae_cli.gradients import Autograd, Device, Gradients, Terms, laid_out
from sae_cli.objective import Objective


@final
class _Loss(nn.Module):
    """The whole objective as one module, so that all parameters can be swapped together."""

    def __init__(self, autoencoder: AutoEncoder, objective: Objective, device: Device) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.objective = objective
        self._device = device

    def forward(self, x: Tensor, target: Tensor) -> tuple[Tensor, Terms]:
        terms: Terms = self.objective(self._device.run(self.autoencoder, x), target)
        return terms["loss"], terms


@final
class Compiled(Gradients):
    """The loss differentiated by ``torch.compile``, which fuses what lies between the products.

    Sums are taken in another order than :class:`~sae_cli.gradients.Autograd` takes them. Batches
    of another size than ``batch_size`` are left to autograd, since each size compiles anew.
    """

    def __init__(
        self, autoencoder: AutoEncoder, objective: Objective, device: Device, batch_size: int
    ) -> None:
        self._eager = Autograd(autoencoder, objective, device)
        self.parameters = self._eager.parameters
        self.term_names = self._eager.term_names
        self._batch_size = batch_size
        module = _Loss(autoencoder, objective, device)
        self._names = [name for name, _ in module.named_parameters()]

        def loss(parameters: dict[str, Tensor], x: Tensor, target: Tensor) -> tuple[Tensor, Terms]:
            found: tuple[Tensor, Terms] = functional_call(module, parameters, (x, target))
            return found

        # Programs of earlier stages and jobs count towards the number that PyTorch keeps of one
        # function, beyond which it compiles no more.
        torch.compiler.reset()
        # It remarks on stderr that there is no GPU.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        self._compiled = torch.compile(grad(loss, has_aux=True), fullgraph=True, dynamic=False)

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Terms, list[Tensor]]:
        if len(x) != self._batch_size:
            return self._eager(x, target)
        with torch.no_grad():
            given: dict[str, Tensor] = dict(zip(self._names, self.parameters, strict=True))
            gradients, terms = self._compiled(given, x, target)
            found = [gradients[name] for name in self._names]
            return terms, laid_out(found, self.parameters)

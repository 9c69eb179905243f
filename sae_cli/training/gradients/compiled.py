"""Gradients by a compiled program: the pass, the loss and its derivative in one function."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from sae_cli.model.activations.activation import Learning
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.objective import Objective, Terms
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd, lay_out
from sae_cli.training.gradients.gradients import Gradients

Found = tuple[Tensor, tuple[Terms, tuple[Tensor, ...]]]
"""The loss, the terms, and the tensors of the pass, none where nothing learns from it."""


@final
class _Loss(nn.Module):
    """The whole objective as one module, so that all parameters can be swapped together."""

    def __init__(
        self, autoencoder: AutoEncoder, objective: Objective, device: Device, training: bool
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.objective = objective
        self._device = device
        self._training = training
        learns = isinstance(autoencoder.activation, Learning)
        self._shows_pass = training and (learns or bool(objective.watchers))

    def forward(
        self, x: Tensor, target: Tensor, labels: Tensor | None, noise: Tensor | None
    ) -> Found:
        passed = self._device.run(self.autoencoder, x, noise, self._training)
        terms: Terms = self.objective(passed, target, labels)
        return terms["loss"], (terms, passed[:4] if self._shows_pass else ())


def can_compile(autoencoder: AutoEncoder) -> bool:
    """Whether PyTorch can compile it in one piece: not with recurrent layers or inferred codes."""
    recurrent = any(isinstance(part, nn.RNNBase) for part in autoencoder.modules())
    return autoencoder.infer is None and not recurrent


@final
class Compiled(Gradients):
    """The loss differentiated by ``torch.compile``, which fuses what lies between the products.

    The order of its sums is not that of autograd, so the last bits may differ. Batches of another
    size than ``batch_size`` are left to autograd, because each size is compiled anew.
    """

    def __init__(
        self,
        autoencoder: AutoEncoder,
        objective: Objective,
        device: Device,
        batch_size: int,
        parameters: Sequence[nn.Parameter] | None = None,
        *,
        training: bool = True,
    ) -> None:
        self._eager = Autograd(autoencoder, objective, device, parameters, training=training)
        self.parameters = self._eager.parameters
        self.term_names = self._eager.term_names
        self._batch_size = batch_size
        self._autoencoder = autoencoder
        self._objective = objective
        module = _Loss(autoencoder, objective, device, training)
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._names = [names[id(parameter)] for parameter in self.parameters]

        def loss(
            parameters: dict[str, Tensor],
            x: Tensor,
            target: Tensor,
            labels: Tensor | None,
            noise: Tensor | None,
        ) -> Found:
            given = (x, target, labels, noise)
            found: Found = functional_call(module, parameters, given)
            return found

        # PyTorch compiles a limited number of programs of one function, and those of earlier stages
        # and jobs count.
        torch.compiler.reset()
        # PyTorch would remark on stderr that there is no GPU.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        self._compiled = torch.compile(grad(loss, has_aux=True), fullgraph=True, dynamic=False)

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        if len(x) != self._batch_size:
            return self._eager(x, target, labels, noise)
        with torch.no_grad():
            given: dict[str, Tensor] = dict(zip(self._names, self.parameters, strict=True))
            gradients, (terms, passed) = self._compiled(given, x, target, labels, noise)
            if passed:
                shown = Pass(*passed)
                self._autoencoder.learn_(shown.activated)
                self._objective.watch_(shown)
            found = [gradients[name] for name in self._names]
            return terms, lay_out(found, self.parameters)

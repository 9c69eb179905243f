"""Gradients of a chain of linear layers and pointwise activations, without autograd.

A step of a small dense network takes longer to record and to replay than to compute. A chain is
differentiated by hand instead, with the derivatives of its parts and in the order of autograd, so
that every gradient is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.autoencoder import AutoEncoder, Pass, unpack
from sae_cli.model.layers import TiedLinear
from sae_cli.model.objective import Objective, Terms
from sae_cli.model.penalties.roles import WarmUp
from sae_cli.training.gradients import derivatives
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.in_pieces import add_terms, pieces

Linear = nn.Linear | TiedLinear
Link = Linear | Pointwise
Weights = dict[int, tuple[Tensor, Tensor | None]]


def can_differentiate(autoencoder: AutoEncoder, objective: Objective) -> bool:
    """Whether :class:`ByHand` can: of a chain, a reconstruction with a derivative, and at most a
    penalty on codes that neither learns nor grows and nothing else."""
    penalty = objective.penalty
    return (
        autoencoder.infer is None
        and None not in _links(autoencoder)
        and all(parameter.requires_grad for parameter in autoencoder.parameters())
        and type(objective.reconstruction) in derivatives.RECONSTRUCTIONS
        and not list(objective.parameters())
        and not objective.further
        and not objective.watchers
        and (penalty is None or (penalty.of == "codes" and not isinstance(penalty, WarmUp)))
    )


def _links(autoencoder: AutoEncoder) -> list[Link | None]:
    """The parts in order of application; None stands for one that is not a link of a chain."""
    encoder, decoder = unpack(autoencoder.encoder), unpack(autoencoder.decoder)
    # Examples are flat in a chain, so flattening first and unflattening last do nothing.
    encoder = [part for i, part in enumerate(encoder) if i or not isinstance(part, nn.Flatten)]
    if decoder and isinstance(decoder[-1], nn.Unflatten):
        decoder.pop()
    every = (*encoder, autoencoder.activation, *decoder, autoencoder.output_activation)
    return [_link(module) for module in every]


def _link(module: nn.Module) -> Link | None:
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    if isinstance(module, Pointwise):
        return module if module.name in derivatives.ACTIVATIONS else None
    if isinstance(module, TiedLinear):
        return module
    if parametrize.type_before_parametrizations(module) is nn.Linear:
        return cast(nn.Linear, module)
    return None


@final
class ByHand(Gradients):
    """Gradients of a chain in float32, by hand.

    Args:
        autoencoder, objective: such that ``can_differentiate`` holds.
        divides: whether to go through a batch in pieces; ``can_divide`` holds.

    Attributes:
        links: in order of application.
        code: the number of the link that makes the codes.
        first: that of the last link, from which differentiation begins.
        own: weight and bias of the links that have parameters of their own.
    """

    def __init__(
        self, autoencoder: AutoEncoder, objective: Objective, *, divides: bool = False
    ) -> None:
        self.parameters = list(autoencoder.parameters())
        self.term_names = objective.term_names
        self._place = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        self.links = [link for link in _links(autoencoder) if link is not None]
        encoder = unpack(autoencoder.encoder)
        self.code = len([part for part in encoder if not isinstance(part, nn.Flatten)])
        self.own = {
            i: (link.weight, link.bias)
            for i, link in enumerate(self.links)
            if type(link) is nn.Linear
        }
        self.objective = objective
        self._n_latents, self.divides = autoencoder.n_latents, divides
        assert objective.reconstruction is not None
        by = derivatives.RECONSTRUCTIONS[type(objective.reconstruction)].by
        self.first = len(self.links) - (2 if by == "pre_x_hat" else 1)

    @torch.no_grad()
    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        weights = self.weights()
        found = self.found()
        x, target = x.flatten(1), target.flatten(1)
        if not self.divides:
            return self._differentiate(x, target, weights, found), found.gradients()
        terms: list[Terms] = []
        for piece, share in pieces(len(x), self._n_latents):
            own = self._differentiate(x[piece], target[piece], weights, found, share)
            terms.append({name: share * value for name, value in own.items()})
        return add_terms(terms), found.gradients()

    def _differentiate(
        self, x: Tensor, target: Tensor, weights: Weights, found: Found, share: float = 1.0
    ) -> Terms:
        """Add the gradients of some rows, times their share of the batch, to those found before;
        give the terms of these rows."""
        values = self._forward(x, weights)
        code = self.code
        passed = Pass(values[code], values[code + 1], values[-2], values[-1])
        terms, gradient, of_codes = derivatives.of_objective(self.objective, passed, target)
        if share < 1.0:
            gradient = gradient * share
            of_codes = None if of_codes is None else of_codes * share
        for i in range(self.first, -1, -1):
            link = self.links[i]
            if i == code and of_codes is not None:
                gradient = gradient + of_codes
            if isinstance(link, Pointwise):
                backward = derivatives.ACTIVATIONS[link.name]
                gradient = backward(gradient, values[i], values[i + 1])
                continue
            weight, bias = weights[i]
            if bias is not None:
                found.add(bias, gradient.sum(0))
            found.add(weight, weight_gradient(weight, gradient, values[i]))
            if i > 0:
                gradient = gradient.mm(weight)
        return terms

    def found(self) -> Found:
        """A place for the gradients of a batch."""
        return Found(self.parameters, self._place)

    def weights(self) -> Weights:
        """Weight and bias of each linear link, by its number."""
        return {
            i: self.own.get(i) or _compute(link)
            for i, link in enumerate(self.links)
            if not isinstance(link, Pointwise)
        }

    def _forward(self, x: Tensor, weights: Weights) -> list[Tensor]:
        """The input of each link, and the last output."""
        values: list[Tensor] = [x]
        for i, link in enumerate(self.links):
            if isinstance(link, Pointwise):
                values.append(link.forward(values[-1]))
            else:
                values.append(F.linear(values[-1], *weights[i]))
        return values


@torch.enable_grad()
def _compute(link: Linear) -> tuple[Tensor, Tensor | None]:
    """Compute weight and bias of a link: transposed, or scaled to unit norm."""
    return link.weight, link.bias


def weight_gradient(weight: Tensor, gradient: Tensor, x: Tensor) -> Tensor:
    """``gradient' x``, laid out as the weight is."""
    return gradient.t().mm(x) if weight.is_contiguous() else x.t().mm(gradient).t()


@final
class Found:
    """Gradients of one batch as they are found, summed where a parameter is used twice.

    Args:
        parameters: in the order of the gradients.
        place: the number of each parameter, by its ``id``.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], place: Mapping[int, int]) -> None:
        self._parameters = parameters
        self._place = place
        self._gradients: list[Tensor | None] = [None] * len(parameters)
        self._computed: list[tuple[Tensor, Tensor]] = []

    def add(self, weight: Tensor, gradient: Tensor) -> None:
        place = self._place.get(id(weight))
        if place is None:
            self._computed.append((weight, gradient))
        else:
            self._gradients[place] = self._sum(place, gradient)

    def _sum(self, place: int, gradient: Tensor) -> Tensor:
        before = self._gradients[place]
        return gradient if before is None else before + gradient

    def gradients(self) -> list[Tensor]:
        """The gradient of each parameter; those of computed weights are carried on to it."""
        if self._computed:
            weights, given = zip(*self._computed, strict=True)
            carried = torch.autograd.grad(weights, self._parameters, given, allow_unused=True)
            for place, gradient in enumerate(carried):
                if gradient is not None:
                    self._gradients[place] = self._sum(place, gradient)
        return [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(self._parameters, self._gradients, strict=True)
        ]

"""Gradients of several chains of one shape at once, over weights with a leading axis of models.

A step of a small network is mostly the calls that it is made of, and these are as many for one
model as for sixteen. On one thread each operation here gives each model the bits that it has alone;
where a library computes a stack of some shape in another way than its parts, ``Stacked`` notices at
the first batches, and leaves the models to their own gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.autoencoder import Pass
from sae_cli.model.objective import Terms, sum_terms
from sae_cli.training.gradients.by_hand import ByHand, Weights
from sae_cli.training.gradients.derivatives_of_stacks import (
    OF_PENALTY,
    OF_RECONSTRUCTION,
    Strengths,
    activate,
    backward,
)

# A model's weights begin at a multiple of so many elements, as in memory of their own.
ALIGNED = 16
# Weights are zeros, or alike, at a training's first step, and hide some differences.
TRIALS = 3

Result = tuple[Terms, list[Tensor]]


class Batch(NamedTuple):
    """One model's batch: ``(batch, *input_shape)`` each."""

    model: ByHand
    x: Tensor
    target: Tensor


@final
class Stacked:
    """Models of one shape.

    Args:
        models: alike in what ``differentiate_all`` asks for.
    """

    def __init__(self, models: Sequence[ByHand]) -> None:
        self._models = models
        self._first = models[0]
        self._strengths = Strengths.of([model.objective.penalty for model in models])
        self._own: Weights = {}
        self._places: list[int] = []
        # Number of examples -> trials in which each model got the bits that it has alone; None once
        # one did not.
        self._trials: dict[int, int | None] = {}

    def __call__(self, batches: Sequence[Batch]) -> list[Result]:
        n = len(batches[0].x)
        trials = self._trials.get(n, 0)
        if trials is None or len(batches) == 1:
            return [batch.model(batch.x, batch.target) for batch in batches]
        together = self._differentiate(batches)
        if trials < TRIALS:
            alone = [batch.model(batch.x, batch.target) for batch in batches]
            same = all(map(_same_bits, together, alone))
            self._trials[n] = trials + 1 if same else None
            return alone
        return together

    @torch.no_grad()
    def _differentiate(self, batches: Sequence[Batch]) -> list[Result]:
        first, code = self._first, self._first.code
        x = torch.stack([batch.x for batch in batches]).flatten(2)
        corrupted = any(batch.x is not batch.target for batch in batches)
        target = torch.stack([b.target for b in batches]).flatten(2) if corrupted else x
        every = [model.weights() for model in self._models]
        weights = self._stack_weights(every)
        values = self._forward(x, weights)
        passed = Pass(values[code], values[code + 1], values[-2], values[-1])
        terms, gradient, of_codes = self._of_objective(passed, target)
        found = [model.found() for model in self._models]
        for i in range(first.first, -1, -1):
            link = first.links[i]
            if i == code and of_codes is not None:
                gradient = gradient + of_codes
            if isinstance(link, Pointwise):
                gradient = backward(link, gradient, values[i], values[i + 1])
                continue
            weight, bias = weights[i]
            of_bias = None if bias is None else gradient.sum(1).unbind()
            of_weight = _weight_gradients(every[0][i][0], gradient, values[i]).unbind()
            for j, own in enumerate(found):
                own_weight, own_bias = every[j][i]
                if of_bias is not None and own_bias is not None:
                    own.add(own_bias, of_bias[j])
                own.add(own_weight, of_weight[j])
            if i > 0:
                gradient = gradient.bmm(weight)
        columns = zip(*(value.unbind() for value in terms.values()), strict=True)
        return [
            (dict(zip(terms, column, strict=True)), own.gradients())
            for column, own in zip(columns, found, strict=True)
        ]

    def _of_objective(self, passed: Pass, target: Tensor) -> tuple[Terms, Tensor, Tensor | None]:
        """As ``derivatives.of_objective``, for each model."""
        objective = self._first.objective
        reconstruction, penalty = objective.reconstruction, objective.penalty
        assert reconstruction is not None
        divisor = reconstruction.divisor(target[0])
        value, of_output = OF_RECONSTRUCTION[type(reconstruction)](divisor, passed, target)
        if penalty is None:
            return sum_terms(value, {}), of_output, None
        raw, of_codes = OF_PENALTY[type(penalty)](self._strengths, passed.codes)
        terms = sum_terms(value, {"penalty": (self._strengths.weight * raw, raw)})
        return terms, of_output, of_codes

    def _forward(self, x: Tensor, weights: Weights) -> list[Tensor]:
        """The input of each link, and the last output: ``(models, batch, n)`` each."""
        values: list[Tensor] = [x]
        for i, link in enumerate(self._first.links):
            if isinstance(link, Pointwise):
                values.append(activate(link, values[-1]))
                continue
            weight, bias = weights[i]
            across = weight.transpose(1, 2)
            values.append(
                values[-1].bmm(across)
                if bias is None
                # To add a bias to a product rounds once more than to begin with it.
                else torch.baddbmm(bias[:, None], values[-1], across)
            )
        return values

    def _stack_weights(self, every: Sequence[Weights]) -> Weights:
        """Weight ``(models, n_out, n_in)`` and bias ``(models, n_out)`` of each linear link."""
        if self._places != [model.parameters[0].data_ptr() for model in self._models]:
            self._move_in()
        computed = {i: [own[i] for own in every] for i in every[0] if i not in self._own}
        return self._own | {
            i: (torch.stack([w for w, _ in own]), _stack_biases([b for _, b in own]))
            for i, own in computed.items()
        }

    def _move_in(self) -> None:
        """Move the weights that are parameters of the models into tensors for all of them."""
        self._own = {}
        for i in self._first.own:
            weights, biases = zip(*(model.own[i] for model in self._models), strict=True)
            self._own[i] = _common(weights), None if biases[0] is None else _common(biases)
        self._places = [model.parameters[0].data_ptr() for model in self._models]


def _common(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Give one tensor ``(models, ...)``, of which each parameter is made a part."""
    n = parameters[0].numel()
    room = torch.zeros(len(parameters), -(-n // ALIGNED) * ALIGNED)
    common = room[:, :n].view(len(parameters), *parameters[0].shape)
    for parameter, part in zip(parameters, common, strict=True):
        part.copy_(parameter)
        parameter.data = part
    return common


def _stack_biases(biases: Sequence[Tensor | None]) -> Tensor | None:
    given = [bias for bias in biases if bias is not None]
    return torch.stack(given) if given else None


def _weight_gradients(weight: Tensor, gradient: Tensor, x: Tensor) -> Tensor:
    """``gradient' x`` of each model, laid out as ``weight`` of one of them is."""
    if weight.is_contiguous():
        return gradient.transpose(1, 2).bmm(x)
    return x.transpose(1, 2).bmm(gradient).transpose(1, 2)


def _same_bits(one: Result, other: Result) -> bool:
    terms = all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    return terms and all(map(torch.equal, one[1], other[1]))

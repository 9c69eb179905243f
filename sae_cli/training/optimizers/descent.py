"""Optimizers that step by the gradients of one batch after the other."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import final

from torch import Tensor
from torch.optim.adam import adam
from torch.optim.nadam import nadam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from sae_cli.core.options import Fraction, NonNegative, Positive
from sae_cli.training.moved import Moved
from sae_cli.training.optimizers.optimizer import OPTIMIZERS, Optimizer, Parameters


@final
@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent."""

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: Positive,
        momentum: Fraction,
        weight_decay: NonNegative,
    ) -> None:
        super().__init__(parameters, *(["momentum"] if momentum > 0.0 else []))
        self.options = {"momentum": momentum, "weight_decay": weight_decay}

    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        velocities: list[Tensor | None] = [
            *moved.state.get("momentum", [None] * len(moved.parameters))
        ]
        sgd(
            moved.parameters,
            moved.gradients,
            velocities,
            foreach=False,
            fused=self._on_gpu,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            **self.options,
        )


class _Moments(Optimizer, ABC):
    """Running means of gradients and of their squares."""

    # Each parameter also keeps these numbers, which start from these values.
    _counters: Mapping[str, float] = {"steps": 0.0}

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: Positive,
        beta1: Fraction,
        beta2: Fraction,
        eps: Positive,
        weight_decay: NonNegative,
    ) -> None:
        super().__init__(parameters, "mean", "square")
        self.state |= {name: self._scalars(start) for name, start in self._counters.items()}
        self.options = {
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
        }


class _Adam(_Moments, ABC):
    """Adam, with weight decay in the gradient or apart from it."""

    _decoupled: bool

    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        adam(
            moved.parameters,
            moved.gradients,
            moved.state["mean"],
            moved.state["square"],
            [],
            moved.state["steps"],
            foreach=False,
            fused=True,
            decoupled_weight_decay=self._decoupled,
            amsgrad=False,
            lr=learning_rate,
            maximize=False,
            **self.options,
        )


@final
@OPTIMIZERS.register("adam")
class Adam(_Adam):
    """Adam with weight decay in the gradient (Kingma and Ba 2015)."""

    _decoupled = False


@final
@OPTIMIZERS.register("adamw")
class AdamW(_Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)."""

    _decoupled = True


@final
@OPTIMIZERS.register("nadam")
class NAdam(_Moments):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    _counters: Mapping[str, float] = {"momentum_product": 1.0, "steps": 0.0}

    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        nadam(
            moved.parameters,
            moved.gradients,
            moved.state["mean"],
            moved.state["square"],
            moved.state["momentum_product"],
            moved.state["steps"],
            foreach=self._on_gpu,
            capturable=self._on_gpu,
            lr=learning_rate,
            momentum_decay=0.004,
            **self.options,
        )


@final
@OPTIMIZERS.register("rmsprop")
class RMSprop(Optimizer):
    """RMSprop (Hinton's lecture 6e); ``alpha`` is the decay of the mean square (Keras: rho)."""

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: Positive,
        alpha: Fraction,
        eps: Positive,
        momentum: Fraction,
        weight_decay: NonNegative,
    ) -> None:
        super().__init__(parameters, "square", *(["momentum"] if momentum > 0.0 else []))
        self.state["steps"] = self._scalars(0.0)
        self.options = {
            "alpha": alpha,
            "eps": eps,
            "momentum": momentum,
            "weight_decay": weight_decay,
        }

    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        rmsprop(
            moved.parameters,
            moved.gradients,
            moved.state["square"],
            [],
            moved.state.get("momentum", []),
            moved.state["steps"],
            foreach=self._on_gpu,
            capturable=self._on_gpu,
            lr=learning_rate,
            centered=False,
            **self.options,
        )

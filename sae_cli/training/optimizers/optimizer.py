"""The bases of optimizers: what they keep, and how they are asked to move parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sae_cli.core.registry import Registry
from sae_cli.training.moved import Moved

Parameters = Iterable[nn.Parameter]

OPTIMIZERS: Registry[Mover] = Registry("optimizer")


class Mover(ABC):
    """What moves parameters, and what it keeps between two moves.

    Attributes:
        parameters: what is moved.
        state: tensors by name: all that is kept between two moves.
    """

    parameters: list[Tensor]
    state: dict[str, list[Tensor]]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Give the state to save."""
        return self.state

    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Restore a saved state."""
        for name, tensors in self.state.items():
            for own, saved in zip(tensors, state[name], strict=True):
                own.copy_(saved)


class Optimizer(Mover, ABC):
    """An update rule that makes a step of the gradients of one batch, computed by PyTorch's own
    functions.

    The classes of ``torch.optim`` call the same functions, but the first object of one of them
    imports PyTorch's compiler, which takes longer than a short training.

    Attributes:
        state: by name, one tensor for each parameter.
        options: what the update rule depends on besides, but for the learning rate; an optimizer
            that leaves them empty takes no step together with others.
        rates: the factor on the learning rate of each parameter; empty where all are 1.
    """

    rates: Sequence[float] = ()

    def __init__(self, parameters: Parameters, *moments: str) -> None:
        self.parameters = list(parameters)
        self.state = {name: [torch.zeros_like(p) for p in self.parameters] for name in moments}
        self.options: dict[str, Any] = {}
        self._on_gpu = self.parameters[0].is_cuda

    def _scalars(self, value: float) -> list[Tensor]:
        """Make one number for each parameter, on its device."""
        return [torch.tensor(value, device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor], learning_rate: float | Tensor) -> None:
        """Move every parameter once.

        Args:
            gradients: one for each parameter.
            learning_rate: a number, or a scalar tensor on the parameters' device.
        """
        for rate, moved in Moved(self.parameters, gradients, self.state).by_rate(self.rates):
            self.move(moved, learning_rate if rate == 1.0 else learning_rate * rate)

    @abstractmethod
    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        """Make a step."""

    def state_of(self, parameter: Tensor) -> list[Tensor]:
        """Give what is kept of one parameter, element by element; it may be changed in place.

        A parameter that is not moved has none.
        """
        found = [i for i, own in enumerate(self.parameters) if own is parameter]
        kept = [tensors[i] for i in found for tensors in self.state.values()]
        return [tensor for tensor in kept if tensor.shape == parameter.shape]

"""What finds the gradients of one model, and tapes of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sae_cli.model.objective import Terms
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.tape import Layout, Tape

Result = tuple[Terms, list[Tensor]]


# They take most of a step, and no call does them for several models.
LONG = {"convolution", "mkldnn_rnn_layer"}
# Where there are more for each operation, moving the weights of all models through the cache costs
# as much as the calls that are spared.
WEIGHTS_PER_OPERATION = 3000
TOO_LONG = "they are so long that it would gain nothing"


@final
class Model:
    """One model's gradients, and the tensors that they depend on beside a batch.

    Args:
        modules: that the gradients are of.

    Attributes:
        own: parameters and buffers.
        recorded: by kind of batch; None where a tape is of no use.
        apart: why they are not found together with those of other models, by kind of batch.
    """

    def __init__(self, gradients: Gradients, modules: Sequence[nn.Module]) -> None:
        self.gradients = gradients
        every = [one for m in modules for one in (*m.parameters(), *m.buffers())]
        self.own = [*{id(one): one for one in every}.values()]
        moved = {id(one) for one in gradients.parameters}
        self._kept = [one for one in self.own if id(one) not in moved]
        self.recorded: dict[Hashable, Recorded | None] = {}
        self.apart: dict[Hashable, str] = {}

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Leave what a step changes beside its results as it was."""
        before = self.state()
        try:
            yield
        finally:
            self.restore(before)

    def state(self) -> list[Tensor]:
        """What a step may change beside its results."""
        return [one.detach().clone() for one in self._kept]

    @torch.no_grad()
    def restore(self, state: Sequence[Tensor]) -> None:
        for own, saved in zip(self._kept, state, strict=True):
            own.copy_(saved)


@final
class Batch:
    """One model's batch.

    Args:
        x, target, labels, noise: as the gradients take them.

    Attributes:
        arguments: these four.
        kind: what batches share that are computed alike.
    """

    def __init__(
        self,
        model: Model,
        x: Tensor,
        target: Tensor,
        labels: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> None:
        self.model = model
        self.arguments = (x, target, labels, noise)
        layouts = (None if one is None else Layout.of(one) for one in self.arguments)
        self.kind: Hashable = (x is target, *layouts)

    @property
    def inputs(self) -> list[Tensor]:
        """Its tensors, each once."""
        return [*{id(one): one for one in self.arguments if one is not None}.values()]

    def differentiate(self) -> Result:
        """Give the terms and the gradients."""
        return self.model.gradients(*self.arguments)


class Recorded(NamedTuple):
    """A step that was recorded; its first slots are of the batch, then of the model.

    Attributes:
        terms, gradients: the slots of the results.
        number: what recorded steps share that differ in nothing but numbers.
    """

    tape: Tape
    terms: dict[str, int]
    gradients: list[int]
    number: int


_numbers: dict[Hashable, int] = {}


def record(batch: Batch, *, keeps: bool = False) -> Recorded | None:
    """Record a step, and leave the model as it was; None if others may take another
    course, or would gain nothing together, which the model notes.

    Args:
        keeps: whether the tape is to keep copies of all that is computed.
    """
    tape = Tape([*batch.inputs, *batch.model.own], keeps=keeps)
    with batch.model.unchanged(), tape:
        terms, gradients = batch.differentiate()
    of_terms = {name: tape.slot(value) for name, value in terms.items()}
    of_gradients = [tape.slot(one) for one in gradients]
    tape.end()
    known = -1 not in (*of_terms.values(), *of_gradients)
    reason = _why_apart(batch.model, tape, known)
    if reason is not None:
        batch.model.apart[batch.kind] = reason
        return None
    signature = (*tape.signature(), *of_terms.items(), *of_gradients)
    number = _numbers.setdefault(signature, len(_numbers))
    return Recorded(tape, of_terms, of_gradients, number)


def _why_apart(model: Model, tape: Tape, known: bool) -> str | None:
    """Say why several models cannot make the calls of a step together, or gain nothing by it.

    Args:
        known: whether all results are the tape's.
    """
    if not (known and tape.steady):
        return "what they compute depends on the data"
    if any(own.name in LONG for own in tape.operations):
        return "they are mostly convolutions or recurrent layers"
    weights = model.gradients.parameters
    if weights[0].device.type != "cpu":
        # A GPU has nothing to move through a cache that a small network would fill.
        return None
    n_weights = sum(one.numel() for one in weights)
    return TOO_LONG if n_weights > WEIGHTS_PER_OPERATION * len(tape.operations) else None

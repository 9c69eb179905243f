"""What the processes of a run share: the rows of each batch or the latents, and what they find.

The batch is that of a training in one process. Where each takes some of its rows, all make the same
step: with ``w`` the share of the batch that a process has, the gradients and the terms of the batch
are the sums over the processes of ``w`` times their own.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, final

import torch
from torch import Tensor

from sae_cli.core.ranks.together import Together
from sae_cli.core.signals import SIGNALS, Stop
from sae_cli.datasets.batch_rows import BatchRows, Stretch, shuffled_rows
from sae_cli.datasets.dataset import Split
from sae_cli.datasets.formats.bus_errors import raise_lost
from sae_cli.model.objective import Terms


class Share(NamedTuple):
    """The rows of a batch that are this process's.

    Attributes:
        rows: which of them.
        n: how many rows the batch has.
        weight: of what this process finds.
    """

    rows: slice
    n: int
    weight: float

    def of(self, batch: Tensor) -> Tensor:
        """Take them from the whole batch."""
        return batch[self.rows]

    def among_all(self, own: Tensor) -> Tensor:
        """Put them where they are in the whole batch; other rows are 0."""
        batch = own.new_zeros(self.n, *own.shape[1:])
        batch[self.rows] = own
        return batch


class Joining(ABC):
    """The processes of a run, as its steps need them.

    Args:
        ranks: the processes.
        stop: of this one; a signal to any of them stops all.

    Attributes:
        asked: the signal that had asked any of them to stop before their last step, or None.
    """

    def __init__(self, ranks: Together, stop: Stop) -> None:
        self._ranks = ranks
        self._stop = stop
        self._asked: Tensor | None = None
        self.asked: int | None = None

    @abstractmethod
    def share_of(self, n: int) -> Share:
        """Give this process's share of a batch of ``n``."""

    @abstractmethod
    def join(
        self, terms: Terms, gradients: Sequence[Tensor], weight: float
    ) -> tuple[Terms, list[Tensor]]:
        """Give the terms and the gradients of the batch from those that this process has found.

        Raises:
            ConfigError, MachineError: rows could not be read, and are zeros.
        """

    @abstractmethod
    def norm(self, norms: Tensor) -> Tensor:
        """Give the L2 norm of all gradients from those of this process's, one of each parameter."""

    def begin(self, share: Share) -> None:
        """Begin with a batch."""
        self._ranks.n_rows = share.n

    def agree(self) -> None:
        """Note a signal to any of the processes, as one to this."""
        if self._asked is None:
            return
        asked = zip(SIGNALS, self._asked.tolist(), strict=True)
        self.asked = next((number for number, n in asked if n), None)
        if self._stop.number is None:
            self._stop.number = self.asked

    def _sum(self, found: Sequence[Tensor], weight: float) -> list[Tensor]:
        """Sum tensors over the processes, and tell them of a signal to this one."""
        if self._stop.number == signal.SIGBUS:
            raise_lost()
        flat = torch.cat([one.detach().reshape(-1) for one in found]) * weight
        asked = [float(number == self._stop.number) for number in SIGNALS]
        total = self._ranks.sum(torch.cat([flat, flat.new_tensor(asked)]))
        sizes = [*(one.numel() for one in found), len(SIGNALS)]
        *pieces, self._asked = torch.split(total, sizes)
        pairs = zip(pieces, found, strict=True)
        summed = [piece.view(one.shape).to(one.dtype) for piece, one in pairs]
        return [
            one if one.stride() == before.stride() else torch.empty_like(before).copy_(one)
            for one, before in zip(summed, found, strict=True)
        ]


@final
class OfRows(Joining):
    """Processes that share the rows of each batch: all gradients are sums over them."""

    def share_of(self, n: int) -> Share:
        rows = self._ranks.rows(n)
        whole = n < self._ranks.size
        return Share(rows, n, 1.0 / self._ranks.size if whole else (rows.stop - rows.start) / n)

    def join(
        self, terms: Terms, gradients: Sequence[Tensor], weight: float
    ) -> tuple[Terms, list[Tensor]]:
        summed = self._sum([*gradients, *terms.values()], weight)
        n = len(gradients)
        return dict(zip(terms, summed[n:], strict=True)), summed[:n]

    def norm(self, norms: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(norms)
        return norm


@final
class OfLatents(Joining):
    """Processes that each hold some of the latents, and see whole batches.

    The forward pass has summed what the terms are made of. The gradients of the latents are each
    process's own; those of other parameters, such as the bias of the decoder, are sums.

    Args:
        held: whether each parameter is of latents.
    """

    def __init__(self, ranks: Together, stop: Stop, held: Sequence[bool]) -> None:
        super().__init__(ranks, stop)
        self._held = held

    def share_of(self, n: int) -> Share:
        return Share(slice(0, n), n, 1.0)

    def join(
        self, terms: Terms, gradients: Sequence[Tensor], weight: float
    ) -> tuple[Terms, list[Tensor]]:
        pairs = [*zip(gradients, self._held, strict=True)]
        summed = iter(self._sum([one for one, held in pairs if not held], weight))
        return terms, [one if held else next(summed) for one, held in pairs]

    def norm(self, norms: Tensor) -> Tensor:
        held = torch.tensor(self._held, device=norms.device)
        squares = norms.square()
        of_latents = self._ranks.sum(torch.where(held, squares, 0.0).sum()[None])
        return (of_latents[0] + torch.where(held, 0.0, squares).sum()).sqrt()


Batch = tuple[Tensor | BatchRows | Stretch, Tensor | None, Share | None]


def batches(
    split: Split,
    order: Tensor,
    batch_size: int,
    joining: Joining | None,
    at_once: Callable[[], int] | None = None,
) -> Iterator[Batch]:
    """Yield values and labels of each batch, or of this process's share of it, which alone is read.

    Args:
        order: as ``Split.shuffled`` takes it.
        joining: the processes that share the batches, or None.
        at_once: gives rows of a split that the device holds in place of their values, and tells
            how many batches may go on together; None for values.
    """
    if at_once is not None and joining is None and split.streamed_to is None:
        return ((rows, None, None) for rows in shuffled_rows(split, order, batch_size, at_once))
    if joining is None:
        return _paired(split, order, batch_size, None)
    full = len(order) // batch_size * batch_size
    parts = [(order[:full], batch_size), (order[full:], len(order) - full)]
    own = []
    for rows, n in parts:
        if len(rows):
            share = joining.share_of(n)
            taken = rows.view(-1, n)[:, share.rows]
            own.append(_paired(split, taken.flatten(), taken.shape[1], share))
    return chain(*own)


def _paired(split: Split, order: Tensor, size: int, share: Share | None) -> Iterator[Batch]:
    values, labels = split.shuffled(order, size), split.shuffled_labels(order, size)
    for target, own in zip(values, labels, strict=True):
        yield target, own, share

"""What the ranks of a run compute together: sums and means over all of them.

Sums are taken in the order of the ranks, on every rank alike, so that all have the same bits, and
have them again another time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, final

import torch
from torch import Tensor, distributed

from sae_cli.core.machine import is_memory
from sae_cli.core.ranks.messages import LeftAlone, Messages

# The other ranks wait while the first evaluates, draws and saves. One that has died is noticed at
# once, because its connections are closed.
LONGEST_WAIT = timedelta(days=7)
# What the ranks of a run share out: the rows of each batch, or the latents of the dictionary.
Share = Literal["rows", "latents"]
# Fewer elements than this are sent to every rank as they are: one message in place of two.
FEW = 1 << 14


@final
class Together:
    """The ranks of a run, connected.

    Args:
        messages: between them.
        device: what they compute on.
        shares: what they share out.

    Attributes:
        n_rows: of the batch at work.

    Raises:
        MachineError, and others: as ``Messages.error``, in the first rank, if another has gone.
        LeftAlone: in the others.
    """

    shares: Share = "rows"

    def __init__(self, messages: Messages, device: torch.device, shares: Share) -> None:
        # Not every build of PyTorch has it.
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]

        self.messages = messages
        self.rank, self.size = messages.launch.rank, messages.launch.size
        self.shares = shares
        self.n_rows = 0
        self._call(
            distributed.init_process_group,
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(f"call {messages.calls}", messages.store),
            rank=self.rank,
            world_size=self.size,
            timeout=LONGEST_WAIT,
        )

    def end(self) -> None:
        """Close the connections."""
        distributed.destroy_process_group()

    def rows(self, n: int) -> slice:
        """Which rows of a batch of ``n`` are this rank's: neighbours, as many as other ranks have
        or one more; all of them where there are fewer rows than ranks."""
        if n < self.size:
            return slice(0, n)
        each, more = divmod(n, self.size)
        begin = self.rank * each + min(self.rank, more)
        return slice(begin, begin + each + (self.rank < more))

    def sum(self, values: Tensor) -> Tensor:
        """Sum vectors ``(n,)`` of all ranks."""
        if len(values) < FEW:
            return _add(self.gather(values))
        # Each rank sums a part of the vector for all.
        part = -(-len(values) // self.size)
        padded = torch.cat([values, values.new_zeros(part * self.size - len(values))])
        parts = torch.empty_like(padded)
        self._call(distributed.all_to_all_single, parts, padded)
        total = _add(list(parts.view(self.size, part)))
        return torch.cat(self.gather(total))[: len(values)]

    def gather(self, values: Tensor) -> list[Tensor]:
        """Give the values of every rank."""
        found = [torch.empty_like(values) for _ in range(self.size)]
        self._call(distributed.all_gather, found, values.contiguous())
        return found

    def from_first(self, content: bytes) -> bytes:
        """Give the first rank's bytes to all; those of the others are not used."""
        n = torch.tensor([len(content)])
        self._call(distributed.broadcast, n, 0)
        if not int(n):
            return b""
        held = torch.frombuffer(bytearray(content if self.rank == 0 else int(n)), dtype=torch.uint8)
        self._call(distributed.broadcast, held, 0)
        return held.numpy().tobytes()

    def number_of_first(self, number: int) -> int:
        """Give the first rank's number to all; those of the others are not used."""
        held = torch.tensor([number])
        self._call(distributed.broadcast, held, 0)
        return int(held)

    def send(self, values: Tensor, rank: int) -> None:
        """Send values to one rank, which is to ``receive`` them."""
        self._call(distributed.send, values.detach().cpu().contiguous(), rank)

    def receive(self, shape: tuple[int, ...], dtype: torch.dtype, rank: int) -> Tensor:
        """Give the values of this shape and type that one rank sends, on the CPU."""
        held = torch.empty(shape, dtype=dtype, device="cpu")
        self._call(distributed.recv, held, rank)
        return held

    def send_bytes(self, content: bytes, rank: int) -> None:
        """Send bytes to one rank, which is to ``receive_bytes``."""
        self.send(torch.tensor([len(content)]), rank)
        if content:
            self.send(torch.frombuffer(bytearray(content), dtype=torch.uint8), rank)

    def receive_bytes(self, rank: int) -> bytes:
        """Give the bytes that one rank sends."""
        n = int(self.receive((1,), torch.int64, rank))
        return self.receive((n,), torch.uint8, rank).numpy().tobytes() if n else b""

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Meet the other ranks."""
        try:
            function(*arguments, **options)
        except RuntimeError as error:
            if is_memory(error):
                raise
            raise (self.messages.error() if self.rank == 0 else LeftAlone()) from error


def _add(values: list[Tensor]) -> Tensor:
    total = values[0]
    for one in values[1:]:
        total = total + one
    return total


_together: Together | None = None


def together() -> Together | None:
    """Give the ranks that this process trains with; None where it trains alone."""
    return _together


@contextmanager
def trained_together(ranks: Together) -> Iterator[None]:
    """Have batches, or latents, be those of all ranks within."""
    global _together
    _together = ranks
    try:
        yield
    finally:
        _together = None


@contextmanager
def trained_alone() -> Iterator[None]:
    """Have batches be those of this process alone within; who calls sums what all have found."""
    global _together
    before, _together = _together, None
    try:
        yield
    finally:
        _together = before


def meet_ranks() -> None:
    """Wait until every rank is here, so that none goes on with what another has found to be bad.

    Raises:
        MachineError, and others; LeftAlone: as ``Together``.
    """
    if _together is not None:
        _together.gather(torch.zeros(1))


def _sharing_rows() -> Together | None:
    return _together if _together is not None and _together.shares == "rows" else None


def mean_of_batch(mean: Tensor, n: int) -> Tensor:
    """The mean over a whole batch, from that over this process's rows of it.

    Its gradient is that of the latter: a rank's loss counts as much as it has rows.

    Args:
        mean: any shape.
        n: how many rows it is of.
    """
    ranks = _sharing_rows()
    if ranks is None or ranks.n_rows == n:
        # Fewer rows than ranks are all here, and their mean is exact: a variation of 0 stays so.
        return mean
    own = mean.detach().flatten()
    whole = (ranks.sum(own * n) / ranks.n_rows).view_as(mean)
    # The difference is 0, and brings the gradient.
    return whole + (mean - mean.detach())


def in_proportion(total: Tensor, n: int) -> Tensor:
    """What a sum over this process's rows were, if these were as all rows of the batch are.

    A term that is divided by it counts as much as this process has rows.

    Args:
        total: a scalar without a gradient.
        n: how many rows it is of.
    """
    ranks = _sharing_rows()
    if ranks is None or ranks.n_rows == n:
        return total
    return n * mean_of_batch(total / n, n)


def of_all(values: Tensor) -> Tensor:
    """The values ``(n,)`` of every rank that has rows of the batch, ``(size, n)``."""
    ranks = _sharing_rows()
    return values[None] if ranks is None else torch.stack(ranks.gather(values))


def rank_of_all() -> int:
    """Which of the rows of ``of_all`` is this rank's."""
    ranks = _sharing_rows()
    return 0 if ranks is None else ranks.rank


def rows_of_batch(n: int) -> int:
    """How many rows the whole batch has of which these ``n`` are this process's."""
    ranks = _sharing_rows()
    return n if ranks is None else ranks.n_rows

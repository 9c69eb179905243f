"""Batches of a split that the device holds, gathered when somebody asks for their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from sae_cli.datasets.dataset import Split

# So many batches hide what a computer does between two stretches, and still end within
# milliseconds.
LONGEST = 16


@dataclass(frozen=True, slots=True)
class BatchRows:
    """The rows of a batch, in place of its values and labels.

    Attributes:
        split: whose rows they are; it is not streamed.
        rows: int64 ``(batch,)``, of what the split has stored, on its device.
    """

    split: Split
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def values(self) -> Tensor:
        """Gather the values, ``(batch, *input_shape)``."""
        return self.split.values(self.rows)

    def lies_with(self, other: BatchRows) -> bool:
        """Whether the values and labels of both can be gathered in one call, to the same bits."""
        own, its = self.split, other.split
        if own.inputs.unit_norm:
            # Their norms are sums, which a GPU may take in another order for more of them.
            return False
        alike = own.stored is its.stored and own.labels is its.labels and own.inputs is its.inputs
        return alike and len(self) == len(other)

    def labels(self) -> Tensor | None:
        """Gather the labels, ``(batch,)``; None if the split has none."""
        return None if self.split.labels is None else self.split.labels[self.rows]


@dataclass(frozen=True, slots=True)
class Stretch:
    """``LONGEST`` batches of rows, one after the other.

    Attributes:
        split: whose rows they are.
        rows: int64 ``(LONGEST, batch)``, as those of each batch.
    """

    split: Split
    rows: Tensor

    def batches(self) -> list[BatchRows]:
        """Give the batches."""
        return [BatchRows(self.split, rows) for rows in self.rows]


def shuffled_rows(
    split: Split, order: Tensor, batch_size: int, at_once: Callable[[], int] = lambda: 1
) -> Iterator[BatchRows | Stretch]:
    """Yield the batches of ``Split.shuffled`` as rows; the order goes to the device once.

    Args:
        at_once: how many batches may go on together from here; asked before each.
    """
    rows = split.rows_at(order)
    start, long = 0, LONGEST * batch_size
    while start < len(rows):
        if at_once() >= LONGEST and start + long <= len(rows):
            yield Stretch(split, rows[start : start + long].view(LONGEST, batch_size))
            start += long
        else:
            yield BatchRows(split, rows[start : start + batch_size])
            start += batch_size


def values_of(batch: Tensor | BatchRows) -> Tensor:
    """Give the values of a batch, ``(batch, *input_shape)``."""
    return batch.values() if isinstance(batch, BatchRows) else batch

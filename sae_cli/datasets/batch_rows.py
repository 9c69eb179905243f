"""Batches of a split that the device holds, gathered when somebody asks for their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sae_cli.datasets.dataset import Split


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

    def labels(self) -> Tensor | None:
        """Gather the labels, ``(batch,)``; None if the split has none."""
        return None if self.split.labels is None else self.split.labels[self.rows]


def shuffled_rows(split: Split, order: Tensor, batch_size: int) -> Iterator[BatchRows]:
    """Yield the batches of ``Split.shuffled`` as rows; the order goes to the device once."""
    rows = split.rows_at(order)
    for start in range(0, len(rows), batch_size):
        yield BatchRows(split, rows[start : start + batch_size])


def values_of(batch: Tensor | BatchRows) -> Tensor:
    """Give the values of a batch, ``(batch, *input_shape)``."""
    return batch.values() if isinstance(batch, BatchRows) else batch

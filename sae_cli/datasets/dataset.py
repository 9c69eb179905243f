"""A data set in memory (or memory-mapped): stored values, and which rows each split takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sae_cli.registry import Registry
from sae_cli.shapes import DataShape, Interval

CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Split:
    """The examples of one purpose (training, validation or test).

    Attributes:
        stored: ``(n_stored, *input_shape)``, any number type, possibly memory-mapped and shared
            with other splits.
        rows: ``(n,)`` int64, the rows of ``stored`` that belong to this split, in order.
        labels: ``(n_stored,)`` int64, or None.
        divisor: stored values divided by this are the values that a model sees.
    """

    stored: Tensor
    rows: Tensor
    labels: Tensor | None = None
    divisor: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)

    def values(self, rows: Tensor) -> Tensor:
        """float32 ``(len(rows), *input_shape)`` of these rows of ``stored``."""
        taken = self.stored.index_select(0, rows).to(torch.float32)
        return taken if self.divisor == 1.0 else taken.div_(self.divisor)

    def batches(self, size: int) -> Iterator[Tensor]:
        """The split's values in order, ``size`` examples at a time."""
        for rows in torch.split(self.rows, size):
            yield self.values(rows)


@dataclass(frozen=True)
class Dataset:
    """The three splits of one source.

    Attributes:
        train, val, test: the splits; none is empty.
        interval: the range that values (after division) are known to lie in.
        n_classes: number of classes, or None without labels.
        source: one line on where the values came from (folder, file or package).
    """

    train: Split
    val: Split
    test: Split
    interval: Interval
    n_classes: int | None
    source: str

    @property
    def shape(self) -> DataShape:
        return DataShape(tuple(self.train.stored.shape[1:]), self.n_classes)

    def to(self, device: torch.device) -> Dataset:
        """A copy on ``device``; storage that splits share is moved once."""
        moved: dict[int, Tensor] = {}

        def move(tensor: Tensor) -> Tensor:
            return moved.setdefault(id(tensor), tensor.to(device))

        def move_split(split: Split) -> Split:
            labels = None if split.labels is None else move(split.labels)
            return replace(split, stored=move(split.stored), rows=move(split.rows), labels=labels)

        return replace(
            self, train=move_split(self.train), val=move_split(self.val), test=move_split(self.test)
        )

    def fingerprint(self) -> str:
        """SHA-256 over every split's values as stored, rows in order, and labels."""
        digest = hashlib.sha256()
        for name, split in (("train", self.train), ("val", self.val), ("test", self.test)):
            stored = split.stored
            digest.update(
                f"{name} {stored.dtype} {tuple(stored.shape[1:])} {len(split)}\n".encode()
            )
            row_bytes = max(1, stored[:1].numel() * stored.element_size())
            for rows in torch.split(split.rows, max(1, CHUNK_BYTES // row_bytes)):
                digest.update(_bytes(stored.index_select(0, rows)))
            if split.labels is not None:
                digest.update(_bytes(split.labels.index_select(0, split.rows)))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(torch.uint8).numpy().data


DATASETS: Registry[Dataset] = Registry("dataset")

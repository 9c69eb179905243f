"""A data set in memory (or memory-mapped): stored values, and the rows of each split.

Batches are taken on the device if the stored values fit there. A larger set stays where it is and
is streamed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat

import torch
from torch import Tensor

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import DataShape, Interval
from sae_cli.datasets.formats.mapped import MappedFile, mapped_files
from sae_cli.datasets.inputs import AS_STORED, DataRecord, Inputs
from sae_cli.datasets.rows import Stored, take_rows, tensors_of
from sae_cli.datasets.stream import Wait, stream, too_large

CHUNK_BYTES = 1 << 20
SHARDS_CHUNK_BYTES = 1 << 26
# PyTorch's memory begins at a multiple of so many.
ALIGNED_BYTES = 64


@dataclass(frozen=True)
class Split:
    """The examples of one purpose (training, validation or test).

    Attributes:
        stored: ``(n_stored, ...)``, any number type, possibly memory-mapped, in shards, and shared
            with other splits.
        rows: ``(n,)`` int64, the rows of ``stored`` that belong to this split, in order; on the
            same device.
        labels: ``(n_stored,)`` int64, or None; on the device where values come out.
        inputs: makes of stored values the values that a model sees.
        streamed_to: the device that values are streamed to; None if they come out on the device
            of ``stored``.
        wait: for values that are streamed.
    """

    stored: Stored
    rows: Tensor
    labels: Tensor | None = None
    inputs: Inputs = AS_STORED
    streamed_to: torch.device | None = None
    wait: Wait = field(default_factory=Wait, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def tensor(self) -> Tensor:
        """The stored values of a split that is not in shards."""
        assert isinstance(self.stored, Tensor)
        return self.stored

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example as a model sees it."""
        return self.inputs.shape_of(tuple(self.stored.shape[1:]))

    def values(self, rows: Tensor) -> Tensor:
        """Give these rows of ``stored`` at once, as float32 ``(len(rows), *input_shape)``."""
        taken = take_rows(self.stored, rows.to(self.stored.device))
        return self.inputs.apply_(taken if self.streamed_to is None else taken.to(self.streamed_to))

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield the split's values in order, ``size`` examples at a time."""
        return self._batches(self.rows, size)

    def chunks(self) -> Iterator[Tensor]:
        """Yield the split's values in order, a few examples at a time, in bounded memory."""
        example_bytes = 4 * math.prod(self.input_shape)
        size = max(1, CHUNK_BYTES // example_bytes)
        for values in self.batches(size * max(1, self.chunk_bytes // (size * example_bytes))):
            yield from torch.split(values, size)

    @property
    def chunk_bytes(self) -> int:
        """How much is read at a time: rows of shards, far from each other, many together."""
        return CHUNK_BYTES if isinstance(self.stored, Tensor) else SHARDS_CHUNK_BYTES

    def shuffled(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield the split's values in another order; the last batch may be smaller.

        Args:
            order: int64 ``(n,)`` positions 0 to ``len(self) - 1`` on the CPU.
        """
        return self._batches(self.rows_at(order), batch_size)

    def shuffled_labels(self, order: Tensor, batch_size: int) -> Iterator[Tensor | None]:
        """Yield the labels ``(batch,)`` for the batches of ``shuffled``, or None for each."""
        if self.labels is None:
            yield from repeat(None, -(-len(order) // batch_size))
            return
        # Rows and labels lie on two devices when values are streamed. They are moved at once,
        # because each move to a GPU waits for it.
        labels = self.labels[self.rows_at(order).to(self.labels.device)]
        # torch.split would make one empty piece of no rows at all.
        for start in range(0, len(order), batch_size):
            yield labels[start : start + batch_size]

    def rows_at(self, order: Tensor) -> Tensor:
        """Give the rows of ``stored`` at these positions, as ``shuffled`` takes them."""
        return self.rows[order.to(self.rows.device)]

    def labelled(self) -> Split:
        """Keep only the examples that have labels."""
        assert self.labels is not None
        known = self.labels[self.rows.to(self.labels.device)] >= 0
        return replace(self, rows=self.rows[known.to(self.rows.device)])

    def _batches(self, rows: Tensor, size: int) -> Iterator[Tensor]:
        if self.streamed_to is None:
            together = size * self._batches_together(size)
            for start in range(0, len(rows), together):
                yield from torch.split(self.values(rows[start : start + together]), size)
        else:
            pieces = (rows[start : start + size] for start in range(0, len(rows), size))
            for taken in stream(self.stored, pieces, self.streamed_to, self.wait):
                yield self.inputs.apply_(taken)

    def _batches_together(self, size: int) -> int:
        """How many batches are taken at once, where several are small.

        Products may depend on where in memory a batch begins, so it begins as if it were alone.
        """
        batch_bytes = 4 * size * math.prod(self.input_shape)
        return 1 if batch_bytes % ALIGNED_BYTES else max(1, CHUNK_BYTES // batch_bytes)

    def with_unit_norm(self) -> Split:
        """A copy whose examples are each scaled to an L2 norm of 1."""
        return replace(self, inputs=replace(self.inputs, unit_norm=True))


@dataclass(frozen=True)
class Dataset:
    """The three splits of one source.

    Attributes:
        train, val, test: the splits; none is empty.
        interval: the range that values (after division) are known to lie in.
        n_classes: number of classes, or None without labels.
        source: one line on where the values came from (folder, file or package).
        unlabelled: why labels that were there are left out, or nothing.
        axes_in_doubt: why nobody can tell where the channels of an example are, or nothing.
        rows_in_doubt: why nobody can tell what the examples are, or nothing.
        leading: the sizes of the axes whose product counts the examples, where there are several.
        class_names: a name for each class, where it has a better one than its number.
    """

    train: Split
    val: Split
    test: Split
    interval: Interval
    n_classes: int | None
    source: str
    unlabelled: str = ""
    axes_in_doubt: str = ""
    rows_in_doubt: str = ""
    leading: tuple[int, ...] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def shape(self) -> DataShape:
        return DataShape(self.train.input_shape, self.n_classes)

    @property
    def files(self) -> list[MappedFile]:
        """The files that values are still read from; none where all are in memory or on a GPU."""
        stored = {id(s.stored): s.stored for s in (self.train, self.val, self.test)}.values()
        pieces = [piece for one in stored for piece in tensors_of(one)]
        starts = sorted({piece.data_ptr() for piece in pieces if piece.device.type == "cpu"})
        return [file for file in mapped_files() if file.holds_one_of(starts)]

    @property
    def record(self) -> DataRecord:
        """How the values that a model sees are made."""
        integers = not self.train.stored.dtype.is_floating_point
        return DataRecord(self.train.inputs, integers, self.interval, self.leading)

    def with_unit_norm(self) -> Dataset:
        """A copy whose examples are each scaled to an L2 norm of 1."""
        low = 0.0 if self.interval.low >= 0.0 else -1.0
        return replace(self._with_each(Split.with_unit_norm), interval=Interval(low, 1.0))

    def with_inputs(self, inputs: Inputs) -> Dataset:
        """A copy whose stored values become what a model sees in another way."""
        return self._with_each(lambda split: replace(split, inputs=inputs))

    def _with_each(self, change: Callable[[Split], Split]) -> Dataset:
        return replace(self, train=change(self.train), val=change(self.val), test=change(self.test))

    def to(self, device: torch.device) -> Dataset:
        """A copy whose values come out on ``device``; storage that splits share is moved once.

        A set that would take too much of the device's memory stays where it is and is streamed.
        """
        splits = (self.train, self.val, self.test)
        on_host = {id(s.stored): s.stored.nbytes for s in splits if s.stored.device.type == "cpu"}
        streamed = too_large(sum(on_host.values()), device)
        tensors: dict[int, Tensor] = {}
        storage: dict[int, Stored] = {}

        def move(tensor: Tensor) -> Tensor:
            return tensors.setdefault(id(tensor), tensor.to(device))

        def move_split(split: Split) -> Split:
            labels = None if split.labels is None else move(split.labels)
            split = replace(split, inputs=split.inputs.to(device))
            if streamed:
                return replace(split, labels=labels, streamed_to=device, wait=Wait())
            if id(split.stored) not in storage:
                storage[id(split.stored)] = split.stored.to(device)
            stored, rows = storage[id(split.stored)], move(split.rows)
            return replace(split, stored=stored, rows=rows, labels=labels, streamed_to=None)

        return self._with_each(move_split)

    def fingerprint(self) -> str:
        """SHA-256 of every split's stored values, in the order of its rows, and of its labels."""
        digest = hashlib.sha256()
        for name, split in (("train", self.train), ("val", self.val), ("test", self.test)):
            stored = split.stored
            digest.update(
                f"{name} {stored.dtype} {tuple(stored.shape[1:])} {len(split)}\n".encode()
            )
            row_bytes = max(1, math.prod(stored.shape[1:]) * stored.dtype.itemsize)
            for rows in torch.split(split.rows, max(1, split.chunk_bytes // row_bytes)):
                digest.update(_bytes(take_rows(stored, rows)))
            if split.labels is not None:
                digest.update(_bytes(split.labels[split.rows]))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().data


DATASETS: Registry[Dataset] = Registry("dataset")

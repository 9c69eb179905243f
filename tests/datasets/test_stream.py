"""Streaming: the bits of a resident set, no thread left behind, errors where they belong."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli.core.shapes import UNIT
from sae_cli.datasets import DATASETS, Dataset, Split
from sae_cli.datasets.inputs import Inputs
from sae_cli.datasets.stream import AHEAD, SHARE, Wait, ahead, free_bytes, too_large

CPU = torch.device("cpu")
DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64]


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("batches-ahead")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    assert not threads()
    yield
    assert not threads()


def split_of(dtype: torch.dtype, divisor: float, n_rows: int = 50) -> Split:
    generator = torch.Generator().manual_seed(0)
    stored = (torch.rand(n_rows + 10, 2, 3, generator=generator) * 255).to(dtype)
    rows = torch.randperm(n_rows + 10, generator=generator)[:n_rows]
    return Split(stored, rows, torch.arange(n_rows + 10), Inputs(divisor=divisor))


def set_of(split: Split) -> Dataset:
    return Dataset(split, split, replace(split, rows=split.rows[:7]), UNIT, n_classes=60, source="")


@pytest.fixture
def with_free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Pretend that the machine has so many free bytes."""

    def give(n_bytes: float) -> None:
        monkeypatch.setattr("sae_cli.datasets.stream.free_bytes", lambda device: n_bytes)

    return give


@pytest.mark.parametrize("size", [1, 8, 10, 50, 64])
@pytest.mark.parametrize("divisor", [1.0, 255.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_streamed_batches_equal_resident_ones(
    dtype: torch.dtype, divisor: float, size: int
) -> None:
    resident = split_of(dtype, divisor)
    streamed = replace(resident, streamed_to=CPU)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    by_hand = [resident.values(rows) for rows in torch.split(resident.rows[order], size)]
    in_order = [resident.values(rows) for rows in torch.split(resident.rows, size)]
    for split in (resident, streamed):
        for found, wanted in (
            (list(split.shuffled(order, size)), by_hand),
            (list(split.batches(size)), in_order),
        ):
            assert all(batch.dtype == torch.float32 for batch in found)
            assert [len(batch) for batch in found] == [len(batch) for batch in wanted]
            assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
        assert torch.equal(split.values(resident.rows[:5]), resident.values(resident.rows[:5]))


def test_a_stream_never_changes_what_is_stored() -> None:
    split = replace(split_of(torch.float32, 2.0), streamed_to=CPU)
    before = split.tensor.clone()
    for batch in split.batches(8):
        batch.zero_()
    assert torch.equal(split.tensor, before)


def test_a_mapped_file_is_streamed(tmp_path: Path, with_free: Callable[[float], None]) -> None:
    array = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    options = {"key": None, "labels": None, "divisor": 1.0, "val": 0.1, "test": 0.1}
    section = {"name": "array", "path": str(tmp_path / "x.npy"), "shuffle_seed": None} | options
    with_free(array.nbytes)
    data = DATASETS.build(DATASETS.check(section)).to(CPU)
    assert data.train.streamed_to == CPU
    np.testing.assert_array_equal(torch.cat(list(data.train.batches(7))), array[:80])


@pytest.mark.parametrize(("spare", "streamed"), [(-1, True), (0, False), (1, False)])
def test_the_share_decides(with_free: Callable[[float], None], spare: int, streamed: bool) -> None:
    data = set_of(split_of(torch.float32, 1.0))
    # The three splits share their storage, so it counts once.
    with_free((data.train.stored.nbytes + spare) / SHARE)
    moved = data.to(CPU)
    for split in (moved.train, moved.val, moved.test):
        assert (split.streamed_to == CPU) is streamed
        assert split.stored is data.train.stored
    assert moved.fingerprint() == data.fingerprint()
    # The set is resident again once there is room.
    with_free(math.inf)
    assert moved.to(CPU).train.streamed_to is None


def test_free_memory() -> None:
    assert 1 << 28 < free_bytes(CPU) < 1 << 50
    assert too_large(1 << 50, CPU)
    assert not too_large(1 << 20, CPU)
    assert not too_large(1 << 60, torch.device("meta"))


def test_a_resident_set_starts_no_thread() -> None:
    batches = split_of(torch.uint8, 255.0).shuffled(torch.arange(50), 5)
    next(batches)
    assert not threads()


def test_the_thread_is_only_a_few_pieces_ahead() -> None:
    asked: list[int] = []

    def pieces() -> Iterator[Tensor]:
        for number in range(100):
            asked.append(number)
            yield torch.tensor([number])

    for number, piece in enumerate(ahead(pieces(), lambda rows: rows, Wait())):
        assert int(piece) == number
        assert len(asked) == min(100, number + 1 + AHEAD)
    assert number == 99


def test_only_the_time_in_which_nothing_else_is_done_is_waiting() -> None:
    def slowly(rows: Tensor) -> Tensor:
        time.sleep(0.05)
        return rows

    idle, busy = Wait(), Wait()
    for _ in ahead(torch.split(torch.arange(4), 1), slowly, idle):
        pass
    assert idle.seconds > 0.15
    started = time.monotonic()
    for _ in ahead(torch.split(torch.arange(4), 1), lambda rows: rows, busy):
        time.sleep(0.05)
    assert busy.seconds < 0.5 * (time.monotonic() - started)


def test_an_early_exit_ends_the_thread() -> None:
    split = replace(split_of(torch.uint8, 255.0), streamed_to=CPU)
    gc.disable()  # Nothing but leaving the loop may be needed.
    try:
        for _ in split.batches(2):
            assert len(threads()) == 1
            break
        assert not threads()
        with pytest.raises(KeyboardInterrupt):
            for _ in split.shuffled(torch.arange(50), 2):
                raise KeyboardInterrupt
        assert not threads()
        next(split.batches(2))
        assert not threads()
    finally:
        gc.enable()


def test_an_early_exit_reads_nothing_more() -> None:
    began, go = threading.Event(), threading.Event()
    read: list[int] = []

    def load(rows: Tensor) -> Tensor:
        read.append(int(rows))
        if len(read) == 2:
            began.set()
            go.wait(10)
        return rows

    batches = ahead(torch.split(torch.arange(100), 1), load, Wait())
    next(batches)
    assert began.wait(10)
    threading.Timer(0.05, go.set).start()
    batches.close()  # type: ignore[attr-defined]
    assert read == [0, 1]


def test_an_error_of_the_thread_comes_up_at_its_batch() -> None:
    split = replace(split_of(torch.uint8, 255.0), streamed_to=CPU)
    split.rows[33] = 1000
    given = []
    with pytest.raises(IndexError):
        for batch in split.batches(10):
            given.append(batch)
    assert len(given) == 3
    assert not threads()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_streamed_to_a_gpu(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products run between the batches, so that copies and computing do overlap."""
    gpu = torch.device("cuda")
    data = set_of(split_of(dtype, 255.0, n_rows=20_000))
    resident = data.to(gpu)
    monkeypatch.setattr("sae_cli.datasets.stream.free_bytes", lambda device: 0)
    streamed = data.to(gpu)
    assert streamed.train.stored.device == CPU
    weight = torch.rand(1000, 1000, device=gpu)
    for seed in range(3):
        order = torch.randperm(20_000, generator=torch.Generator().manual_seed(seed))
        pairs = zip(
            streamed.train.shuffled(order, 256), resident.train.shuffled(order, 256), strict=True
        )
        for one, other in pairs:
            assert one.device.type == "cuda"
            for _ in range(5):
                weight = (weight @ weight).clamp(0, 1)
            assert torch.equal(one, other)
    rows = streamed.train.rows[:9]
    for given in (rows, rows.to(gpu)):
        assert torch.equal(streamed.train.values(given), resident.train.values(given))
    assert streamed.fingerprint() == resident.fingerprint() == data.fingerprint()

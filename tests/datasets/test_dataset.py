"""What a data set gives: labels beside their examples, examples of unit norm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sae_cli import load_run
from sae_cli.assembly.data import check_data, read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Split
from sae_cli.datasets.batch_rows import LONGEST, BatchRows, Stretch, shuffled_rows, values_of
from sae_cli.datasets.inputs import BYTES
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure


def test_labels_go_with_the_batches() -> None:
    """They also do with no batch left, after the last step of an epoch."""
    split = Split(torch.arange(7), torch.tensor([6, 2, 4]), torch.arange(7) * 10)
    for n in range(4):
        order = torch.tensor([2, 0, 1])[:n]
        seen = []
        batches = zip(split.shuffled(order, 2), split.shuffled_labels(order, 2), strict=True)
        for values, labels in batches:
            assert labels is not None
            assert labels.tolist() == (values * 10).tolist()
            seen += values.tolist()
        assert seen == [4.0, 6.0, 2.0][:n]


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """Signed values; the first row is zeros."""
    values = np.random.default_rng(0).normal(size=(40, 2, 3)).astype(np.float32)
    values[0] = 0.0
    np.save(tmp_path / "values.npy", values)
    return tmp_path / "values.npy"


def norms(values: Tensor) -> Tensor:
    return values.flatten(1).double().square().sum(1).sqrt()


def test_examples_have_unit_norm_and_zeros_stay(array: Path, configure: Configure) -> None:
    given = ("dataset=array", f"dataset.path={array}", "dataset.axes=as_stored", "unit_norm=true")
    data = read_dataset(configure("model=ae", *given))
    stored = torch.from_numpy(np.load(array))
    for split in (data.train, data.val, data.test):
        (values,) = split.batches(100)
        raw = stored[split.rows]
        assert torch.equal(norms(raw) == 0, norms(values) == 0)
        assert norms(values)[norms(raw) > 0].numpy() == pytest.approx(1.0, abs=1e-6)
        # Each example is only scaled: it points where it pointed before.
        along = (values * raw).flatten(1).sum(1)
        assert along.numpy() == pytest.approx(norms(raw).numpy(), rel=1e-5)
        assert (values[:3] >= data.interval.low).all()
    assert (data.interval.low, data.interval.high) == (-1.0, 1.0)


def test_what_unit_norm_allows(array: Path, configure: Configure) -> None:
    """Scaled values of 0 and more are still probabilities; signed ones are not."""

    def checked(*overrides: str) -> None:
        config = configure("model=ae", "unit_norm=true", *overrides)
        check_data(config, build_parts(config), read_dataset(config))

    bce = ("reconstruction=bce", "architecture.output_activation=sigmoid")
    signed = ("dataset=array", f"dataset.path={array}", "dataset.axes=as_stored", "batch_size=4")
    checked(*bce)
    checked(*signed, "architecture.output_activation=tanh", "corruption=gaussian")
    checked(*signed, "architecture.output_activation=identity")
    with pytest.raises(ConfigError, match=r"values in \[-1, 1\], and reconstruction=bce needs"):
        checked(*signed, *bce)
    with pytest.raises(ConfigError, match=r"output_activation=sigmoid cannot reach"):
        checked(*signed, "architecture.output_activation=sigmoid")


def test_a_loaded_run_scales_too(configure: Configure, tmp_path: Path) -> None:
    """The codes of an example do not depend on its length, and give the error in the summary."""
    config = configure("model=ae", "unit_norm=true", "pictures=false", *SMALL)
    train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    (seen,) = read_dataset(config).test.batches(2000)
    assert torch.allclose(run.encode(seen * 16.0), run.encode(seen), atol=1e-6)
    assert torch.equal(
        run.encode(torch.zeros(1, 64)), run.autoencoder.encode(torch.zeros(1, 1, 8, 8))
    )
    error = (run.decode(run.encode(seen * 16.0)) - seen).square().mean()
    assert run.summary["test/mse"] == pytest.approx(float(error), rel=1e-5)


class Moves(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors that are copied from one device to another."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [one.device for one in args if isinstance(one, Tensor)]
        self.n += isinstance(made, Tensor) and any(one != made.device for one in given)
        return made


@pytest.mark.parametrize("batch_size", [2, 3, 12])
def test_the_order_of_an_epoch_goes_to_a_gpu_once(batch_size: int) -> None:
    """Each move waits for the GPU, which is pretended here by tensors without values."""
    with FakeTensorMode(), Moves() as moves:
        labels = torch.zeros(12, dtype=torch.int64, device="cuda")
        split = Split(torch.zeros(12, 4, device="cuda"), labels + 1, labels)
        order = torch.randperm(12)
        values = [*split.shuffled(order, batch_size)]
        own = [*split.shuffled_labels(order, batch_size)]
        # For the values, and for the labels.
        assert moves.n == 2
        later = [(one.values(), one.labels()) for one in rows_of(split, order, batch_size)]
        assert moves.n == 2 + 1
    assert len(values) == len(own) == len(later) == 12 // batch_size


@pytest.mark.parametrize("n", [0, 1, 4, 7])
def test_rows_of_a_batch_are_what_it_is_gathered_from(n: int) -> None:
    stored = torch.arange(14).view(7, 2).to(torch.uint8)
    split = Split(stored, torch.tensor([6, 2, 4, 0, 1, 3, 5]), torch.arange(7) * 10, BYTES)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))[:n]
    expected = stored.numpy()[split.rows.numpy()[order.numpy()]] / np.float32(255.0)
    batches = rows_of(split, order, 3)
    assert [len(one) for one in batches] == [min(3, n - start) for start in range(0, n, 3)]
    values = [value for one in batches for value in values_of(one).tolist()]
    np.testing.assert_array_equal(np.reshape(values, (n, 2)), expected)
    labels = [label for one in batches for label in cast(Tensor, one.labels()).tolist()]
    assert labels == (split.rows[order] * 10).tolist()
    assert all(one.labels() is None for one in rows_of(replace(split, labels=None), order, 3))


def rows_of(split: Split, order: Tensor, batch_size: int) -> list[BatchRows]:
    """The batches, where none go on together."""
    every = [*shuffled_rows(split, order, batch_size)]
    return [one for one in every if isinstance(one, BatchRows)]


def test_batches_that_may_go_on_together_come_together() -> None:
    """There are no more than may, or than are left."""
    split = Split(torch.arange(200.0)[:, None], torch.arange(200).flip(0), None)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    single = [one.rows.tolist() for one in rows_of(split, order, 4)]
    free = iter([LONGEST - 1, LONGEST, 1, 2 * LONGEST, *[LONGEST] * 100])
    found = [*shuffled_rows(split, order, 4, lambda: next(free))]
    stretches = [i for i, one in enumerate(found) if isinstance(one, Stretch)]
    # Of 50 batches one is left out at first, one between and one further before the last stretch.
    assert stretches == [1, 3, 4] and LONGEST == 16
    rows: list[list[int]] = []
    for one in found:
        own = one.batches() if isinstance(one, Stretch) else [one]
        rows += [batch.rows.tolist() for batch in own]
    assert rows == single

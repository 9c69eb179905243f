"""A step reads nothing back from the device and does nothing for single examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.assembly.streams import generators
from sae_cli.datasets import Split
from sae_cli.datasets.batch_rows import Stretch
from sae_cli.runs.steps import splits_of
from sae_cli.training.devices import Device
from sae_cli.training.loop import Position, evaluate, fit
from sae_cli.training.metrics import Baseline
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer
from sae_cli.training.shares import batches
from sae_cli.training.step import Step
from tests.conftest import Configure, slow

# PyTorch brings a value to the host, or waits for one, by these operations.
READS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "unique", "masked_select")


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts of the operations that run, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    @property
    def reads(self) -> int:
        return sum(self.counts[name] for name in READS)


@contextmanager
def no_hidden_reads() -> Iterator[None]:
    """Forbid the reads that are not operations on a CPU, such as ``tolist`` and ``numpy``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tolist", "numpy", "item", "__bool__", "__float__", "__int__", "__array__"):
            patch.setattr(Tensor, name, refuse(name))
        yield


def refuse(name: str) -> Any:
    def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"a step reads a tensor back ({name})")

    return read


PAGES = [
    ("model=ae",),
    ("model=sparse_kl",),
    ("model=sparse_l1", "optimizer=adamw"),
    ("model=sparse_target", "optimizer=rmsprop"),
    ("model=sparse_l2",),
    ("model=denoising", "optimizer=sgd", "optimizer.momentum=0.9"),
    ("model=tied", "reconstruction=bce", "architecture.output_activation=sigmoid"),
    ("model=sparse_kl", "device.precision=bfloat16"),
]


FOR_GPU = [("optimizer=nadam",), ("model=ae", "head=classifier", "unit_norm=true")]


def make_step(
    overrides: tuple[str, ...], configure: Configure, batch_size: int
) -> tuple[Step, Any]:
    config = configure(*overrides, f"batch_size={batch_size}", "dataset.test=1000")
    parts = build_parts(config)
    training = build_training(config, parts, read_dataset(config))
    stage = training.stages[-1]
    data, _ = splits_of(training, stage)
    gradients = build_gradients(config, training.device, stage)
    optimizer = OPTIMIZERS.build(config.parts["optimizer"], gradients.parameters)
    assert isinstance(optimizer, Optimizer)
    generator = generators(config.settings.seed, training.device.torch).noise
    clip_norm = config.settings.clip_norm
    step = Step(
        gradients, optimizer, training.corruption, generator, batch_size, clip_norm=clip_norm
    )
    return step, data


@pytest.mark.parametrize("page", [*PAGES[4:], *slow(PAGES[:4])], ids=" ".join)
def test_an_epoch_reads_nothing_back_until_its_end(
    page: tuple[str, ...], configure: Configure
) -> None:
    """A large batch takes as many operations as a small one."""
    operations = []
    for batch_size in (16, 32):
        step, data = make_step((*page, "device=cpu"), configure, batch_size)
        order = torch.arange(len(data))
        with no_hidden_reads(), Calls() as calls:
            targets = list(data.shuffled(order[: 4 * batch_size], batch_size))
            for target in targets:
                step(target, 0.01)
        assert len(targets) == 4
        assert calls.reads == 0, calls.counts
        operations.append(calls.counts.total())
    assert operations[0] == operations[1]


def test_the_guard_sees_a_read() -> None:
    with pytest.raises(AssertionError, match="reads a tensor back"), no_hidden_reads():
        float(torch.ones(()))
    with Calls() as calls:
        torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert calls.reads == 2


def test_an_epoch_is_read_once(configure: Configure) -> None:
    """The number of reads does not depend on the number of steps."""
    reads = []
    for batch_size in (16, 64):
        step, data = make_step(("model=sparse_kl", "device=cpu"), configure, batch_size)
        order = Generator().manual_seed(0)
        with Calls() as calls:
            list(
                fit(
                    step,
                    data,
                    lambda step: 1.0,
                    learning_rate=0.01,
                    epochs=2,
                    batch_size=batch_size,
                    order=order,
                    position=Position(0, 0, order.get_state()),
                    on_step=lambda terms, n: None,
                )
            )
        reads.append(calls.reads)
    assert reads[0] == reads[1]


@pytest.mark.parametrize("page", [("model=sparse_kl",), ("model=sparse_kl", "head=classifier")])
def test_an_evaluation_reads_as_often_for_many_batches_as_for_one(
    page: tuple[str, ...], configure: Configure
) -> None:
    config = configure(*page, "device=cpu")
    parts = build_parts(config)
    training = build_training(config, parts, read_dataset(config))
    reads = []
    for n in (100, 3000):
        x = torch.rand(n, 1, 8, 8, generator=Generator().manual_seed(0))
        split = Split(x, torch.arange(n), torch.arange(n) % 10)
        baseline = Baseline.of(split.batches(1024))
        device = Device(torch.device("cpu"))
        with Calls() as calls:
            evaluate(training.autoencoder, training.objective, split, baseline, device)
        reads.append(calls.reads)
    assert reads[0] == reads[1]


@pytest.mark.gpu
@pytest.mark.parametrize("as_rows", [True, False])
@pytest.mark.parametrize("n", [3 * 32 + 1, 32 + 5, 7 * 32 + 5])
@pytest.mark.parametrize("page", [*PAGES[:-1], *FOR_GPU], ids=" ".join)
def test_a_captured_step_gives_what_a_plain_one_gives(
    page: tuple[str, ...], n: int, as_rows: bool, configure: Configure
) -> None:
    """They agree with smaller last batches, labels and noise, and without waiting for the GPU."""
    results = []
    for capture in (True, False):
        step, data = make_step((*page, "device=cuda"), configure, 32)
        assert step.gathers
        if not capture:
            step._captured = None
        order = torch.arange(n)
        given = [*batches(data, order, 32, None, (lambda: 1) if capture and as_rows else None)] * 2
        torch.cuda.set_sync_debug_mode("error")
        try:
            for number, (target, labels, _) in enumerate(given):
                assert not isinstance(target, Stretch)
                step(target, 0.01 / (1 + number // 3), labels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        parameters: list[nn.Parameter] = list(step.update.gradients.parameters)
        results.append((step.sums.means(2 * n), [p.detach().cpu() for p in parameters]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)

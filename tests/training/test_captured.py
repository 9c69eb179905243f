"""Captured steps on pretended CUDA graphs: what is repeated, and what is launched beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from sae_cli.datasets import Split, dataset
from sae_cli.datasets.batch_rows import LONGEST, BatchRows, Stretch, values_of
from sae_cli.model.objective import Terms
from sae_cli.training import loop
from sae_cli.training.captured import Captured, Examples, Given
from sae_cli.training.loop import Position, fit
from sae_cli.training.lr_schedules import LrSchedule
from sae_cli.training.shares import batches
from tests.conftest import Configure
from tests.training.cuda_graphs import Graph, Mode, Recording, launches, pretend
from tests.training.test_step import make_step

SIZE = 4


@pytest.fixture(autouse=True)
def pretended() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch)
        yield


def split_of(sign: int) -> Split:
    """Its rows and labels can be told from the sum of both, ``4 * sign * rows.sum()``."""
    numbers = torch.arange(1000)
    return Split(sign * numbers.float()[:, None], numbers, 3 * sign * numbers)


class Summed:
    """What is captured: the sum of values and labels, times the learning rate, and a draw."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.generator = Generator().manual_seed(0)
        self.captured = Captured(self, SIZE, [self.generator])

    def __call__(self, steps: Sequence[Examples], rates: Sequence[Tensor]) -> list[Terms]:
        ((values, labels),), (rate,) = steps, rates
        self.calls.append(len(values))
        own = values.labels() if isinstance(values, BatchRows) else labels
        assert own is not None
        draw = torch.rand((), generator=self.generator)
        return [{"loss": (values_of(values).sum() + own.sum()) * rate, "draw": draw}]

    def take(self, given: Given, *rates: float) -> Terms:
        """Take a step, or a stretch of them; the terms of the last."""
        return self.captured([given], [rates])[0]

    @property
    def replays(self) -> list[int]:
        """How often each graph was repeated."""
        return [graph.replays for graph in Graph.made]


def test_rows_stand_for_values_only_where_the_device_holds_them() -> None:
    """A graph would gather what is streamed on the host, once and for all."""
    split, order = split_of(1), torch.arange(10)
    streamed = replace(split, streamed_to=torch.device("cpu"))
    for one, expected in ((split, BatchRows), (streamed, Tensor)):
        given = [*batches(one, order, SIZE, None, lambda: 1)]
        assert len(given) == 3
        assert all(isinstance(values, expected) for values, _, _ in given)


@pytest.mark.parametrize("as_rows", [True, False])
@pytest.mark.parametrize("full", [1, 3, 7])
def test_a_step_is_captured_once_and_repeated_whatever_the_last_batch(
    full: int, as_rows: bool
) -> None:
    summed, split, draws = Summed(), split_of(1), Generator().manual_seed(0)
    for step, size in enumerate([*([SIZE] * full), 3] * 6):
        rows, rate = torch.arange(size) + 7 * step, 1.0 + step // 5
        given = (BatchRows(split, rows), None) if as_rows else (split.values(rows), 3 * rows)
        terms = summed.take(given, rate)
        assert float(terms["loss"]) == 4 * int(rows.sum()) * rate
        assert float(terms["draw"]) == float(torch.rand((), generator=draws))
    assert summed.replays == [6 * full - Captured.WARM_UP]
    assert sorted(summed.calls) == [3] * 6 + [SIZE] * (Captured.WARM_UP + 1)


def test_a_stretch_is_captured_besides_and_draws_on() -> None:
    """Its steps have a learning rate each; as the first it is taken plainly, step by step."""
    summed, split, draws = Summed(), split_of(1), Generator().manual_seed(0)
    for time, n in enumerate([LONGEST, 1, LONGEST, LONGEST, 1, LONGEST]):
        rows = torch.arange(n * SIZE).view(n, SIZE) + time
        rates = [1.0 + time + step for step in range(n)]
        alone = BatchRows(split, rows[0]), None
        terms = summed.take(Stretch(split, rows) if n > 1 else alone, *rates)
        drawn = torch.stack([torch.rand((), generator=draws) for _ in range(n)])
        assert float(terms["loss"]) == 4 * int(rows[-1].sum()) * rates[-1]
        assert float(terms["draw"]) == float(drawn[-1])
    assert summed.replays == [2, 3]
    assert summed.calls == [SIZE] * (LONGEST + 1 + LONGEST)


def test_rates_that_come_apart_are_recorded_once_more() -> None:
    """Trainings with one rate share its place; a pool that was emptied is given to no graph."""

    def scaled(steps: Sequence[Examples], rates: Sequence[Tensor]) -> list[Terms]:
        places.append([rate.data_ptr() for rate in rates])
        return [
            {"loss": values_of(values).sum() * rate}
            for (values, _), rate in zip(steps, rates, strict=True)
        ]

    places: list[list[int]] = []
    captured = Captured(scaled, SIZE, [Generator(), Generator()])
    split, rows = split_of(1), torch.arange(SIZE)
    for rates in [(1.0, 1.0)] * 5 + [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0), (1.0, 5.0)]:
        given: list[Given] = [(BatchRows(split, rows + i), None) for i in range(2)]
        found = captured(given, [(rate,) for rate in rates])
        losses = [float(own["loss"]) for own in found]
        assert losses == [6.0 * rates[0], 10.0 * rates[1]]
    assert [graph.replays for graph in Graph.made] == [2, 4]
    assert Graph.made[0].pool is not Graph.made[1].pool
    assert places[0][0] == places[0][1] and places[-1][0] != places[-1][1]


def test_rows_of_another_split_are_not_gathered_from_the_first() -> None:
    summed, splits, rows = Summed(), {1: split_of(1), -1: split_of(-1)}, torch.arange(SIZE)
    for sign in [1] * 5 + [-1] * 2 + [1] * 2:
        terms = summed.take((BatchRows(splits[sign], rows), None), 1.0)
        assert float(terms["loss"]) == 4 * sign * int(rows.sum())
    assert summed.replays == [4]


class Launched(Mode):
    """The names of the operations that compute, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if launches(func):
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("head", ["none", "classifier"])
def test_beside_a_captured_step_only_the_numbers_of_its_rows_are_copied(
    head: str, large: bool, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate that changes is one more; a batch of values is copied, or gathered before."""
    if large:
        monkeypatch.setattr(dataset, "CHUNK_BYTES", 1)
    for rate, written in ((lambda step: 1.0, {}), (lambda step: 1.0 / (1 + step), {"copy_": 7})):
        found = launched_beside(configure, head, rate)
        assert found == {"_foreach_copy_": 7} | written
    monkeypatch.setattr(loop, "batches", lambda *given: batches(*given[:4]))
    gathered = dict.fromkeys(("index_select", "_to_copy", "div_"), 7) if large else {}
    copied = {"_foreach_copy_": 7}
    assert launched_beside(configure, head, lambda step: 1.0) == gathered | copied


def launched_beside(configure: Configure, head: str, lr_schedule: LrSchedule) -> Counter[str]:
    """Count what seven captured steps launch outside of their graph, within a second epoch."""
    step, data = make_step((f"head={head}", "model=ae", "device=cpu"), configure, 16)
    step.capture()
    step.sums._kept = None
    order, launched, marks = Generator().manual_seed(0), Launched(), list[int]()
    with launched:
        epochs = fit(
            step,
            replace(data, rows=data.rows[: 8 * 16]),
            lr_schedule,
            learning_rate=0.01,
            epochs=2,
            batch_size=16,
            order=order,
            position=Position(0, 0, order.get_state()),
            on_step=lambda terms, n: marks.append(len(launched.names)),
        )
        list(epochs)
    return Counter(launched.names[marks[8] : marks[15]])


def test_recording_changes_nothing_and_a_replay_runs_no_python() -> None:
    """What it stands in for does so, too."""
    graph, x, generator = Graph(), torch.ones(3), Generator().manual_seed(0)
    kept, python = torch.zeros(3), list[int]()
    graph.register_generator_state(generator)
    state = generator.get_state()
    with Recording(graph):
        python.append(1)
        kept.add_(x)
        drawn = torch.rand(3, generator=generator)
        found = (x + 1.0).mul_(2.0)[1:] + kept[1:]
    assert kept.tolist() == [0.0] * 3
    assert found.isnan().all() and drawn.isnan().all()
    assert torch.equal(generator.get_state(), state)
    for times in (1, 2, 3):
        x.fill_(float(times))
        graph.replay()
        assert kept.tolist() == [sum(range(times + 1))] * 3
        assert found.tolist() == [2.0 * (times + 1.0) + sum(range(times + 1))] * 2
        again = [torch.rand(3, generator=Generator().manual_seed(0))]
        assert torch.equal(drawn, again[0]) is (times == 1)
    assert python == [1]


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0.0],
        lambda x: x.nonzero(),
        lambda x: x.masked_fill_(x > 0.0, 0.0)[x > 0.0].add_(1.0),
        lambda x: bool(x.any()),
        lambda x: x.__setitem__(x > 0.0, x.new_ones(())),
        lambda x: torch.rand(3, generator=Generator()),
    ],
)
def test_what_cannot_be_recorded_is_refused(read: Callable[[Tensor], object]) -> None:
    with pytest.raises(AssertionError), Recording(Graph()):
        read(torch.ones(3))

"""Runs that trade sparsity for reconstruction, over seeds, and which of them no other beats."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from sae_cli.results.fair import QUALITY, Fair, is_trade_off, sparsity
from sae_cli.results.finished_run import FinishedRun
from sae_cli.results.front import Point, pareto_front
from sae_cli.results.gather import Group, groups


class TradeOff(NamedTuple):
    """The runs of a group, which differ only in their seed.

    Attributes:
        measure: the metric that says how sparse their codes are.
        sparsity, quality: its values, and those of ``val/fvu``, seed by seed.
        on_front: whether no other group that is measured alike has a lower mean in both.
    """

    group: Group
    measure: Fair
    sparsity: list[float]
    quality: list[float]
    on_front: bool = False

    @property
    def means(self) -> Point | None:
        """Both means over seeds; None where one of them has no value."""
        if not self.sparsity or not self.quality:
            return None
        return statistics.fmean(self.sparsity), statistics.fmean(self.quality)


def trade_offs(runs: Iterable[FinishedRun]) -> list[TradeOff]:
    """Find the systems whose variants set the sparsity differently: those on the front first."""
    found: list[TradeOff] = []
    for _, of_system in groupby(groups(runs), key=lambda group: group.system):
        variants = [*of_system]
        if is_trade_off([key for group in variants for key in group.variant]):
            found += _marked([one for group in variants for one in _trade_off(group)])
    return found


def _trade_off(group: Group) -> Iterator[TradeOff]:
    by_seed = [*group.by_seed.values()]
    measure = sparsity(by_seed[-1].parts, by_seed[-1].metric("active_above"))
    if measure is not None:
        yield TradeOff(group, measure, _values(by_seed, measure.metric), _values(by_seed, QUALITY))


def _values(runs: Iterable[FinishedRun], metric: str) -> list[float]:
    return [value for run in runs if (value := run.metric(metric)) is not None]


def _marked(found: list[TradeOff]) -> list[TradeOff]:
    """Mark the front of each kind, and put it first, the sparsest of it first."""
    kinds: dict[tuple[Fair, str], list[TradeOff]] = {}
    for one in found:
        kinds.setdefault((one.measure, one.group.runs[0].data_key), []).append(one)
    marked = []
    for kind in kinds.values():
        front = pareto_front([one.means for one in kind])
        of_kind = [one._replace(on_front=on) for one, on in zip(kind, front, strict=True)]
        marked += sorted(of_kind, key=lambda one: (one.means is None, one.means or ()))
    return sorted(marked, key=lambda one: not one.on_front)

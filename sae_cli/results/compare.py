"""Two run folders side by side: which metrics and tensors are the same to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_cli.core.text import number, table
from sae_cli.run_folder.files import read_error, read_file, read_json
from sae_cli.run_folder.layout import MODEL, SUMMARY, read_whole_metrics

# These keys of a summary are not results.
NO_RESULT = {"status", "seconds"}


class Results(NamedTuple):
    """What a run has computed: the lines of metrics, the summary, and the tensors by name."""

    metrics: list[dict[str, Any]]
    summary: dict[str, Any]
    tensors: dict[str, Tensor]


def read_results(folder: Path) -> Results:
    """Read what is compared of a finished run.

    Raises:
        ConfigError: a file cannot be read.
    """
    return Results(
        read_whole_metrics(folder), read_json(folder / SUMMARY), _tensors(folder / MODEL)
    )


class Found(NamedTuple):
    """The comparison of one metric or tensor.

    Attributes:
        same: whether it is the same to the bit.
        note: how far it is off, and since when.
    """

    name: str
    same: bool
    note: str


def compare_metrics(then: Results, now: Results) -> list[Found]:
    """Compare every value of ``metrics.jsonl`` and ``summary.json``, metric by metric."""
    before, after = then.metrics, now.metrics
    found = [Found("lines of metrics.jsonl", *_same(len(before), len(after)))]
    lines = list(zip(before, after, strict=False))
    for name in dict.fromkeys(key for line in before + after for key in line):
        pairs = [(old.get(name), new.get(name), old.get("epoch")) for old, new in lines]
        off = [pair for pair in pairs if not _equal(*pair[:2])]
        largest = max((_distance(old, new) for old, new, _ in off), default=0.0)
        note = f"since epoch {off[0][2]}, by up to {number(largest)}" if off else ""
        found.append(Found(name, not off, note))
    return found + list(_compare_summaries(then.summary, now.summary))


def _compare_summaries(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Found]:
    for key in dict.fromkeys([*then, *now]):
        # Validation values equal the last line of metrics.jsonl, which was compared above.
        if key not in NO_RESULT and not key.startswith("val/"):
            yield Found(f"{key} in the end", *_same(then.get(key), now.get(key)))


def compare_tensors(then: Results, now: Results) -> list[Found]:
    """Compare every tensor of ``model.safetensors``."""
    before, after = then.tensors, now.tensors
    return [_tensor(name, before.get(name), after.get(name)) for name in {**before, **after}]


def _tensor(name: str, then: Tensor | None, now: Tensor | None) -> Found:
    if then is None or now is None or then.shape != now.shape or then.dtype != now.dtype:
        return Found(name, False, f"{_kind(then)} then, {_kind(now)} now")
    if then.numpy().tobytes() == now.numpy().tobytes():
        return Found(name, True, "")
    distance = (then.double() - now.double()).abs()
    n = int((distance > 0).sum())
    return Found(
        name, False, f"{n} of {distance.numel()} values, by up to {number(float(distance.max()))}"
    )


def _kind(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        read_file(file, 0)
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in sorted(opened.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise read_error(file, error) from None


def _same(then: Any, now: Any) -> tuple[bool, str]:
    return _equal(then, now), f"{number(then)} then, {number(now)} now"


def _equal(then: Any, now: Any) -> bool:
    return type(then) is type(now) and bool(then == now)


def _distance(then: Any, now: Any) -> float:
    if isinstance(then, (int, float)) and isinstance(now, (int, float)):
        return abs(then - now)
    return math.inf


def report(what: str, found: list[Found]) -> list[str]:
    """Word how many are identical, with a line for each that is not."""
    off = [one for one in found if not one.same]
    head = f"{what}: {len(found) - len(off)} of {len(found)} identical"
    return [head, *(f"  {line}" for line in table(["", ""], [[o.name, o.note] for o in off])[1:])]

"""Which splits lack classes that a classifier is to learn, or is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sae_cli.datasets import Dataset, Split
from sae_cli.datasets.splits import MAX_NAMED


def class_notes(section: Mapping[str, Any], data: Dataset) -> list[str]:
    """Say which classes have no example in a split, or in none.

    Args:
        section: the options of the data set.
        data: with labels or without.
    """
    if data.n_classes is None:
        return []
    splits = {"train": data.train, "val": data.val, "test": data.test}
    present = {name: _present(split, data.n_classes) for name, split in splits.items()}
    anywhere = torch.stack(list(present.values())).any(0)
    known = _numbers(anywhere)
    notes = []
    if len(known) < data.n_classes:
        notes.append(f"note: no split has a labelled example of {_name(_numbers(~anywhere))}")
    if len(known) == 1:
        return [*notes, f"note: all labels are {_name(known)}, so that accuracy says nothing"]
    lacks = [
        f"{name} holds {_name(_numbers(own))} alone"
        if int(own.sum()) == 1
        else f"{name} lacks {_name(_numbers(anywhere & ~own))}"
        for name, own in present.items()
        if not torch.equal(own, anywhere)
    ]
    if lacks:
        in_order = "shuffle_seed" in section and section["shuffle_seed"] is None
        advice = (
            "the splits are in the order of the file, and dataset.shuffle_seed=0 draws them"
            if in_order
            else "accuracy says nothing of classes that a split lacks"
        )
        notes.append(f"note: {', '.join(lacks)}; {advice}")
    return notes


def _present(split: Split, n_classes: int) -> Tensor:
    """Tell of each class whether a split has a labelled example of it, bool ``(n_classes,)``."""
    if split.labels is None:
        return torch.zeros(n_classes, dtype=torch.bool)
    labels = split.labels[split.rows.to(split.labels.device)]
    return torch.bincount(labels[labels >= 0], minlength=n_classes).cpu() > 0


def _numbers(chosen: Tensor) -> list[int]:
    return [int(number) for number in chosen.nonzero()]


def _name(classes: Sequence[int]) -> str:
    shown = ", ".join(map(str, classes[:MAX_NAMED]))
    more = f" and {len(classes) - MAX_NAMED} more" if len(classes) > MAX_NAMED else ""
    return f"class{'es' if len(classes) > 1 else ''} {shown}{more}"

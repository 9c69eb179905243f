"""The labels of some classes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.dataset import Dataset, Split


def keep_classes(data: Dataset, classes: Sequence[int]) -> Dataset:
    """Give a copy in which examples of other classes have no label, in every split.

    Args:
        classes: numbers of classes, without repeats.

    Raises:
        ConfigError: there is no such class, or a split has no example of any.
    """
    if data.n_classes is None:
        return data
    unknown = [one for one in classes if one >= data.n_classes]
    if unknown:
        raise ConfigError(
            f"head.classes={[*classes]} names class {unknown[0]}, and the data have classes 0 to "
            f"{data.n_classes - 1}; give some of these, or null for all"
        )
    kept = without_other_labels(data, classes)
    for name, split in (("train", kept.train), ("val", kept.val), ("test", kept.test)):
        if split.labels is not None and not len(split.labelled()):
            raise ConfigError(
                f"head.classes={[*classes]} leaves {name} without a labelled example; give "
                "classes that train, val and test have examples of, or other splits "
                "(dataset=array draws them with dataset.shuffle_seed=0)"
            )
    return kept


def without_other_labels(data: Dataset, classes: Sequence[int]) -> Dataset:
    """Give the copy of ``keep_classes`` of data that may lack some of the classes, or labels."""
    train, val, test = (_keep(split, classes) for split in (data.train, data.val, data.test))
    return replace(data, train=train, val=val, test=test)


def _keep(split: Split, classes: Sequence[int]) -> Split:
    return split if split.labels is None else replace(split, labels=_mask(split.labels, classes))


def _mask(labels: Tensor, classes: Sequence[int]) -> Tensor:
    kept = torch.isin(labels, torch.tensor([*classes], device=labels.device))
    return torch.where(kept, labels, -1)

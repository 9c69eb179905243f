"""Splits without examples of a class are named before a classifier is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.assembly.class_notes import class_notes
from sae_cli.core.shapes import REALS
from sae_cli.datasets import Dataset, Split
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

IN_ORDER = "the splits are in the order of the file, and dataset.shuffle_seed=0 draws them"
NOTHING = "accuracy says nothing of classes that a split lacks"


def data_of(train: list[int], val: list[int], test: list[int], n_classes: int | None) -> Dataset:
    labels = torch.tensor([*train, *val, *test])
    rows = torch.arange(len(labels)).tensor_split([len(train), len(train) + len(val)])
    known = None if n_classes is None else labels
    one, other, last = (Split(torch.rand(len(labels), 2), own, known) for own in rows)
    return Dataset(one, other, last, REALS, n_classes, source="")


@pytest.mark.parametrize(
    ("train", "val", "test", "n_classes", "says"),
    [
        ([0, 1, 2], [0, 1, 2], [2, 1, 0], 3, []),
        ([0, 1, 2], [2, 2], [2], 3, ["val holds class 2 alone, test holds class 2 alone"]),
        ([0, 1], [1, 0], [0, 1, 2], 3, ["train lacks class 2, val lacks class 2"]),
        ([0, 1, 2, 3], [0, 1], [0, 1, 2, 3], 4, ["val lacks classes 2, 3"]),
        # Labels that are left out are -1.
        ([0, -1, 1], [0, 1], [0, 1, -1], 2, []),
        ([0, 1], [0, 1], [0, 1], 4, ["no split has a labelled example of classes 2, 3"]),
        ([0], [0, 0], [0], 1, ["all labels are class 0, so that accuracy says nothing"]),
        (
            list(range(20)),
            [0, 1],
            list(range(20)),
            20,
            ["val lacks classes 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"],
        ),
        ([0, 1], [0], [0], None, []),
    ],
)
def test_what_is_said(
    train: list[int], val: list[int], test: list[int], n_classes: int | None, says: list[str]
) -> None:
    data = data_of(train, val, test, n_classes)
    for section, advice in (
        ({"shuffle_seed": None}, IN_ORDER),
        ({"shuffle_seed": 3}, NOTHING),
        ({"val": 200}, NOTHING),
    ):
        advised = [f"{one}; {advice}" if " lacks " in one or one[0] == "v" else one for one in says]
        assert class_notes(section, data) == [f"note: {one}" for one in advised]


def test_rows_sorted_by_class(configure: Configure, tmp_path: Path) -> None:
    """It is said before the first epoch, and only where a head uses the labels."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(60, 5)))
    np.save(tmp_path / "y.npy", np.repeat(np.arange(3), 20))
    given = (
        *("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "batch_size=8", "epochs=1"),
        *(f"dataset.labels={tmp_path / 'y.npy'}", "pictures=false", "progress=false", "model=ae"),
    )
    logs = []
    for name, head in (("with", ("head=classifier", "head.epochs=1")), ("without", ())):
        train(configure(*given, *head), tmp_path / name, [])
        logs.append((tmp_path / name / "train.log").read_text())
    note = f"note: val holds class 2 alone, test holds class 2 alone; {IN_ORDER}\n"
    assert logs[0].index(note) < logs[0].index("epoch 0/")
    assert "holds class" not in logs[1]


def test_a_data_set_that_is_not_an_array(configure: Configure, tmp_path: Path) -> None:
    few = ("dataset.val=3", "head=classifier", "head.epochs=1", "pictures=false", *SMALL)
    train(configure("model=ae", *few), tmp_path / "run", [])
    assert "note: val lacks classes " in (tmp_path / "run" / "train.log").read_text()

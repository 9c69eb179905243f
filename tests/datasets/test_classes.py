"""Labels of some classes alone, and who trains on which examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.assembly.data import read_dataset, read_once
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Split
from sae_cli.runs.train import train
from tests.conftest import Configure

HEAD = ("model=sparse_kl", "head=classifier", "head.epochs=1", "head.classes=[1,4,7]")
SELF_TAUGHT = (*HEAD, "head.self_taught=true")


def labels_of(split: Split) -> list[int]:
    assert split.labels is not None
    return [int(one) for one in split.labels[split.rows]]


def test_other_classes_lose_their_labels_in_every_split(configure: Configure) -> None:
    whole, some = read_dataset(configure("model=ae")), read_dataset(configure(*HEAD))
    for before, after in (
        (whole.train, some.train),
        (whole.val, some.val),
        (whole.test, some.test),
    ):
        kept = [label if label in {1, 4, 7} else -1 for label in labels_of(before)]
        assert labels_of(after) == kept
        assert torch.equal(before.rows, after.rows)


def test_data_that_are_read_once_are_those_of_each_run(configure: Configure) -> None:
    with read_once():
        found = [read_dataset(configure(*given)) for given in ((), HEAD, ())]
    assert found[0].fingerprint() == found[2].fingerprint() != found[1].fingerprint()


def test_each_stage_has_its_examples(configure: Configure) -> None:
    whole = read_dataset(configure("model=ae")).train
    config = configure(*SELF_TAUGHT, "head.fine_tune_epochs=1", "head.n_labels=40")
    training = build_training(config, build_parts(config), read_dataset(config))
    train = training.dataset.train
    for stage, classes in zip(
        training.stages, [{0, 2, 3, 5, 6, 8, 9}, {1, 4, 7}, {1, 4, 7}], strict=True
    ):
        rows = stage.examples(train).rows
        assert whole.labels is not None
        assert {int(one) for one in whole.labels[rows]} == classes
        assert len(rows) == 40 or stage.name == "joint"
    n = sum(label in {0, 2, 3, 5, 6, 8, 9} for label in labels_of(whole))
    assert len(training.stages[0].examples(train)) == n
    # The labels that n_labels keeps are shared out among three classes.
    assert sorted(np.bincount([one for one in labels_of(train) if one >= 0]).tolist())[-3:] == [
        13,
        13,
        14,
    ]


def test_what_is_learnt_of_other_classes_does_not_depend_on_the_labelled_ones(
    configure: Configure, tmp_path: Path
) -> None:
    """The encoder is that of a run which has thrown the labelled examples away."""
    x = read_dataset(configure("model=ae")).train
    images, labels = x.values(x.rows).flatten(1).numpy(), np.array(labels_of(x))
    others = ~np.isin(labels, [1, 4, 7])
    np.save(tmp_path / "all.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    changed = np.where(others[:, None], images, 1.0 - images)
    np.save(tmp_path / "changed.npy", changed.astype("f4"))
    weights = []
    for name in ("all", "changed"):
        given = (
            f"dataset.path={tmp_path / name}.npy",
            f"dataset.labels={tmp_path / 'labels.npy'}",
            "dataset.val=0.1",
            "dataset.test=0.1",
        )
        config = configure(*SELF_TAUGHT, "dataset=array", *given, "epochs=2", "pictures=false")
        train(config, tmp_path / name, [])
        weights.append(load_run(tmp_path / name).autoencoder.encoder.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("lacking", ["train", "val", "test"])
def test_a_split_without_a_labelled_example_is_refused(
    lacking: str, configure: Configure, tmp_path: Path
) -> None:
    """The other splits have examples of both classes."""
    labels = np.arange(100) % 3
    rows = {"train": slice(0, 80), "val": slice(80, 90), "test": slice(90, 100)}[lacking]
    labels[rows] = 2
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((100, 6), np.float32))
    np.save(tmp_path / "labels.npy", labels)
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.val=0.1")
    more = (f"dataset.labels={tmp_path / 'labels.npy'}", "dataset.test=0.1")
    given = ("model=ae", "head=classifier", *data, *more)
    read_dataset(configure(*given, "head.classes=[0,2]"))
    says = rf"head.classes=\[0, 1\] leaves {lacking} without a labelled example; give classes"
    with pytest.raises(ConfigError, match=says) as refused:
        read_dataset(configure(*given, "head.classes=[0,1]"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("head.classes=[3,10]",), r"names class 10, and the data have classes 0 to 9"),
        (
            ("head.classes=[0,1,2,3,4,5,6,7,8,9]", "head.self_taught=true"),
            "are all classes of the training data",
        ),
        (("head.n_labels=2",), "leaves some of the 3 classes without a label; give at least 3"),
    ],
)
def test_what_is_refused(configure: Configure, given: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        config = configure(*HEAD, *given)
        build_training(config, build_parts(config), read_dataset(config))
    assert "\n" not in str(refused.value)

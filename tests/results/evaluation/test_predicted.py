"""Predicted codes against steps of ISTA and FISTA that are written out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_cli.results.evaluation import predicted
from sae_cli.results.evaluation.predicted import predicted_codes
from sae_cli.results.evaluation.subject import Subject, on_own_data
from sae_cli.results.load import load_run
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

Floats = NDArray[np.float64]
WEIGHT = 0.3
# Of the 1 500 digits that test, so few are looked at, evenly spaced.
N_ROWS, N_STEPS = 200, 1000
ROWS = np.arange(N_ROWS) * 1500 // N_ROWS


def trained(configure: Configure, folder: Path, *words: str) -> Subject:
    train(configure(*words, *SMALL, "epochs=20", "pictures=false", "device=cpu"), folder, [])
    return on_own_data(load_run(folder), "test")


def as_steps(x: Floats, d: Floats, non_negative: bool, momentum: bool) -> Iterator[Floats]:
    """Give zeros, and the codes after each step (Beck and Teboulle 2009)."""
    lipschitz = 2 * np.linalg.eigvalsh(d.T @ d)[-1]
    codes = ahead = np.zeros((len(x), d.shape[1]))
    t = 1.0
    yield codes
    for _ in range(N_STEPS):
        down = ahead - 2 * (ahead @ d.T - x) @ d / lipschitz
        down = np.maximum(down, 0.0) if non_negative else down
        before = codes
        codes = np.sign(down) * np.maximum(np.abs(down) - WEIGHT / lipschitz, 0.0)
        t_before, t = t, (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead = codes + (t_before - 1) / t * (codes - before) if momentum else codes
        yield codes


def of_lista(own: dict[str, Floats], x: Floats) -> Floats:
    drive = x @ own["filters.weight"].T - own["threshold"]
    codes = np.maximum(drive, 0.0)
    for _ in range(2):
        codes = np.maximum(drive + codes + codes @ own["interactions.weight"].T, 0.0)
    return codes


def of_psd(own: dict[str, Floats], x: Floats) -> Floats:
    made: Floats = own["1.gains"] * np.tanh(x @ own["1.layer.weight"].T + own["1.layer.bias"])
    return made


def of_layer(own: dict[str, Floats], x: Floats) -> Floats:
    return np.maximum(x @ own["1.weight"].T + own["1.bias"], 0.0)


# Its decoder has a bias.
DENSE = ("model=psd", "architecture=dense", "architecture.hidden_sizes=[]", "activation=relu")


@pytest.mark.parametrize(
    ("words", "predict"),
    [(("model=lista",), of_lista), (("model=psd",), of_psd), (DENSE, of_layer)],
    ids=["lista", "psd", "dense"],
)
def test_error_and_steps(
    words: tuple[str, ...],
    predict: Any,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicted, "MOST_ROWS", N_ROWS)
    monkeypatch.setattr(predicted, "CONVERGED", N_STEPS)
    subject, notes = trained(configure, tmp_path / "run", *words), list[str]()
    found = predicted_codes(subject, notes)
    split, run, non_negative = subject.examples, subject.run, words == ("model=lista",)
    x = split.tensor[split.rows].flatten(1).numpy().astype(np.float64)[ROWS] / 16.0
    saved = run.autoencoder.encoder.state_dict()
    own = {name: one.numpy().astype(np.float64) for name, one in saved.items()}
    d = run.dictionary.numpy().astype(np.float64).T
    codes_of_x, (_, bias) = predict(own, x), run.autoencoder.linear_decoder() or (None, None)
    x = x if bias is None else x - bias.detach().numpy()
    *_, converged = as_steps(x, d, non_negative, momentum=True)
    scale = np.square(converged).sum()
    error = np.square(codes_of_x - converged).sum() / scale
    assert found["predicted_error"] == pytest.approx(error, rel=1e-3)
    assert "for 200 examples" in notes[0]
    for name, momentum in (("ista_steps", False), ("fista_steps", True)):
        steps = as_steps(x, d, non_negative, momentum)
        errors = (np.square(codes - converged).sum() / scale for codes in steps)
        # Ours are shorter by up to 2 %, because their length is a bound.
        n = next(n for n, one in enumerate(errors) if one <= error)
        assert n <= found[name] <= 1.03 * n + 1


def test_codes_so_wide_that_few_examples_could_be_looked_at(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted, "MOST_WORK", 49 * 64 * 64)
    subject, notes = trained(configure, tmp_path / "run", "model=psd"), list[str]()
    assert subject.run.n_latents == 64
    assert predicted_codes(subject, notes) == {}
    assert notes == [
        "predicted_error is left out, because steps of ISTA on 64 latents take too long"
    ]


@pytest.mark.parametrize("model", ["ae", "sparse_coding"])
def test_models_that_predict_no_codes(model: str, configure: Configure, tmp_path: Path) -> None:
    assert predicted_codes(trained(configure, tmp_path / "run", f"model={model}"), []) == {}

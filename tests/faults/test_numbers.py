"""Numbers that are not finite: the run stops, and no checkpoint holds them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.core.errors import DivergedError
from sae_cli.runs.train import train
from sae_cli.training import optimizers
from sae_cli.training.step import Step
from tests.conftest import SMALL, Configure, slow
from tests.faults.runs import (
    LAST,
    PREVIOUS,
    WORDS,
    at_step,
    config_of,
    finish_like,
    in_step,
    saved_state,
    signal_sender,
    status,
)
from tests.forked import Forked


def finite(value: object) -> bool:
    """Whether all numbers in a checkpoint are finite; ``best_loss`` is infinite at first."""
    if isinstance(value, dict):
        return all(finite(item) for key, item in value.items() if key != "best_loss")
    if isinstance(value, list):
        return all(map(finite, value))
    if isinstance(value, torch.Tensor):
        return bool(value.isfinite().all())
    return not isinstance(value, float) or math.isfinite(value)


def spoil_loss(step: Step) -> None:
    step.sums.state_dict()["sums"][0] = math.nan
    step.sums.finite[0] -= 1


def spoil_weight(step: Step) -> None:
    step.update.optimizer.parameters[0].data.view(-1)[0] = math.inf


def spoil_state(step: Step) -> None:
    """A gradient of 1e25 has an infinite square: its weight would never move again."""
    parameters = step.update.optimizer.parameters
    gradients = [torch.full_like(parameter, 1e25) for parameter in parameters]
    step.update.optimizer.step(gradients, 1e-3)


def test_a_loss_that_is_not_finite(tmp_path: Path, forked: Forked) -> None:
    done = forked(
        *WORDS,
        *("optimizer=sgd", "optimizer.learning_rate=1e30", "checkpoint_steps=1"),
        "hydra.run.dir=run",
    )
    assert done.code == 3
    assert re.fullmatch(
        r"error: training diverged: .* became infinite or NaN .*; the last good checkpoint is of "
        r"step \d+; try a lower optimizer.learning_rate \(it was 1e\+30\)",
        done.error,
    )
    assert status(tmp_path / "run") == "failed"
    assert finite(saved_state(tmp_path / "run" / LAST))


@pytest.mark.parametrize(
    ("key", "value", "chosen"),
    [
        ("schedule.layer_learning_rates", "[1e30]", ("model=stacked",)),
        ("head.learning_rate", "3e38", ("model=sparse_kl", "head=classifier")),
        (
            "head.fine_tune_learning_rate",
            "1e30",
            ("model=ae", "head=classifier", "head.epochs=0", "head.fine_tune_epochs=9"),
        ),
    ],
)
def test_the_learning_rate_to_lower_is_that_of_the_stage(
    key: str, value: str, chosen: tuple[str, ...], tmp_path: Path, configure: Configure
) -> None:
    """The advice names no penalty's weight where the stage has no penalty."""
    said = rf"; try a lower {re.escape(key)} \(it was .*\)$"
    with pytest.raises(DivergedError, match=said):
        train(configure(*chosen, f"{key}={value}", "optimizer=sgd", *SMALL), tmp_path / "run", [])


def array(folder: Path, values: np.ndarray) -> tuple[str, ...]:
    np.save(folder / "x.npy", values)
    return (
        *("dataset=array", f"dataset.path={folder / 'x.npy'}", "batch_size=16", "epochs=1"),
        *("pictures=false", "progress=false"),
    )


@pytest.mark.parametrize("advice", ["dataset.divisor=255", "unit_norm=true"])
def test_data_that_are_too_large_for_a_model(advice: str, tmp_path: Path, forked: Forked) -> None:
    """The advice of the message helps, and a lower learning rate is not advised."""
    values = np.random.default_rng(0).integers(0, 256, (200, 204), dtype=np.uint8)
    words = (*array(tmp_path, values), "model=vae")
    done = forked(*words, "hydra.run.dir=run")
    assert done.code == 3
    assert re.fullmatch(
        r"error: training cannot begin: loss, .* are infinite or NaN before the first step, which "
        r"no learning rate mends; bring the data, which have values in \[0, 255\], to about 1 with "
        r"dataset.divisor=255 or unit_norm=true",
        done.error,
    )
    assert status(tmp_path / "run") == "failed"
    assert not (tmp_path / "run" / LAST).exists()
    assert forked(*words, advice, "hydra.run.dir=again").code == 0


@pytest.mark.parametrize("scale", [1e20, 1e-40, *slow([1e30, 1e37, 1e-30])])
@pytest.mark.parametrize("dtype", ["float32", *slow(["float64"])])
def test_data_whose_squares_no_float_holds(
    scale: float, dtype: str, tmp_path: Path, forked: Forked
) -> None:
    values = np.random.default_rng(0).normal(size=(100, 8)) * scale
    words = (*array(tmp_path, values.astype(dtype)), "model=ae")
    done = forked(*words, "hydra.run.dir=run")
    assert done.code == 2
    assert "in float32, in which models compute" in done.error or "for float32" in done.error
    found = re.search(r"; (dataset.divisor=\S+) brings them to about 1$", done.error)
    assert found is not None
    assert not (tmp_path / "run").exists()
    assert forked(*words, found[1], "hydra.run.dir=again").code == 0


@pytest.mark.parametrize("step", [9, 10, 11, 12])
def test_a_term_that_is_not_finite(step: int, tmp_path: Path, whole: Path) -> None:
    """The error names its step, found at a checkpoint or at the end of the epoch."""
    run = tmp_path / "run"
    said = f"loss became infinite or NaN at step {step} .* the last good checkpoint is of step"
    with in_step(step, spoil_loss), pytest.raises(DivergedError, match=said):
        train(config_of(), run, [])
    assert saved_state(run / LAST).step < 12
    assert finite(saved_state(run / LAST))
    assert finite(saved_state(run / PREVIOUS))
    # The run itself was not at fault, so it resumes.
    finish_like(run, whole)


@pytest.mark.parametrize("spoil", [spoil_weight, spoil_state])
@pytest.mark.parametrize("step", [11, 12, 16])
def test_weights_that_are_not_finite_are_not_saved(
    spoil: object, step: int, tmp_path: Path, whole: Path
) -> None:
    run = tmp_path / "run"
    with (
        in_step(step, spoil),  # type: ignore[arg-type]
        pytest.raises(DivergedError, match="last good checkpoint is of step"),
    ):
        train(config_of(), run, [])
    assert status(run) == "failed"
    assert finite(saved_state(run / LAST))
    finish_like(run, whole)


@pytest.mark.parametrize("model", ["denoising", "sparse_kl"])
def test_a_gradient_that_is_infinite(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss itself is finite."""
    take = optimizers.Optimizer.step
    steps = iter(range(1, 12))

    def patched(
        self: optimizers.Optimizer,
        gradients: list[torch.Tensor],
        learning_rate: float | torch.Tensor,
    ) -> None:
        if next(steps, None) == 10:
            gradients[0].view(-1)[0] = math.inf
        take(self, gradients, learning_rate)

    monkeypatch.setattr(optimizers.Optimizer, "step", patched)
    with pytest.raises(DivergedError, match="the last good checkpoint is of step 8"):
        train(config_of(f"model={model}"), tmp_path / "run", [])
    assert finite(saved_state(tmp_path / "run" / LAST))


def test_a_signal_when_the_loss_is_no_longer_finite(tmp_path: Path, whole: Path) -> None:
    """The state that a signal would save is not saved."""
    run = tmp_path / "run"
    with (
        in_step(10, spoil_loss),
        at_step(10, signal_sender(15)),
        pytest.raises(DivergedError, match="became infinite or NaN at step 10 "),
    ):
        train(config_of(), run, [])
    assert finite(saved_state(run / LAST))
    finish_like(run, whole)

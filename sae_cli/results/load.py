"""A run from its folder: its configuration, metrics and trained auto-encoder.

A dictionary that another library has trained is loaded as one without a configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sae_cli.assembly.network import Network
from sae_cli.core.errors import ConfigError, in_one_line, nearest
from sae_cli.core.paths import open_home
from sae_cli.core.plugins.loading import load_given
from sae_cli.core.shapes import REALS
from sae_cli.core.text import short
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.results.checkpoint_model import holds_checkpoint, read_checkpoint
from sae_cli.results.interchange.load import find_weights, read_dictionary
from sae_cli.results.interchange.model import build_autoencoder
from sae_cli.results.needed_plugins import changed, needed_by_run
from sae_cli.results.run import Run
from sae_cli.results.saved_config import earlier_record, read_config
from sae_cli.results.saved_model import Weights, read_model
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import (
    CONFIG,
    MODEL,
    STATUS,
    refuse_runs_within,
    resume_command,
    status_of,
)

__all__ = ["Run", "load_run", "read_run"]

Checkpoint = Literal["best", "last"]
CHECKPOINTS = ("best", "last")


def load_run(
    folder: str | Path,
    *,
    checkpoint: Checkpoint | None = None,
    plugins: Sequence[str | Path] = (),
) -> Run:
    """Load a run from its folder, or a dictionary of SAELens, dictionary_learning, sparsify, Gemma
    Scope or ``sae-export`` from its folder or file.

    YAML, JSON and tensors are read as data; nothing is executed. A run that has not finished is
    loaded from its last checkpoint, with a warning.

    Args:
        checkpoint: the weights to load: of the lowest validation loss (``best``), or of the last
            checkpoint (``last``); None for those that the run ended with.
        plugins: Python files and packages with parts of your own, whose code is run, beside those
            that the environment variable ``SAE_PLUGINS`` names.

    Raises:
        ConfigError: the folder does not hold a run or a dictionary, or holds a damaged one; or it
            needs a plug-in that is not given, or one cannot be loaded.
        CheckpointError: there is no such checkpoint, or it is damaged.
    """
    load_given(map(str, plugins))
    run, notes = read_run(folder, checkpoint)
    for note in notes:
        warnings.warn(in_one_line(note), UserWarning, stacklevel=2)
    return run


def read_run(folder: str | Path, checkpoint: str | None = None) -> tuple[Run, list[str]]:
    """Load a run or a dictionary as ``load_run`` does; give what it would warn of as lines."""
    path = open_home(folder)
    if checkpoint is not None and checkpoint not in CHECKPOINTS:
        raise ConfigError(
            f"checkpoint={checkpoint} is not a checkpoint; choose one of {', '.join(CHECKPOINTS)}"
            + nearest(checkpoint, CHECKPOINTS)
        )
    if not (path / CONFIG).is_file():
        return _read_dictionary(path, checkpoint), []
    run, notes = _read_run(path, checkpoint)
    return run, [*changed(needed_by_run(path)), *notes]


def _read_run(path: Path, checkpoint: str | None) -> tuple[Run, list[str]]:
    if checkpoint is not None:
        return _read_checkpoint(path, checkpoint)
    if not (path / MODEL).is_file():
        return _read_unfinished(path)
    config = read_config(path / CONFIG)
    model = read_model(path, config)
    record = model.record or earlier_record(config)
    run = Run(path, config, model.network, model.shape.input_shape, record)
    status = _unfinished(path)
    if status is None:
        return run, []
    return run, [
        f"{short(path)} has not finished ({status}): these are the weights in {MODEL}; "
        "checkpoint='last' gives those of its last checkpoint"
    ]


def _read_checkpoint(path: Path, checkpoint: str) -> tuple[Run, list[str]]:
    config = read_config(path / CONFIG)
    model, weights, notes = read_checkpoint(path, config, checkpoint)
    assert model.record is not None, "a checkpoint is read with how its data were made"
    run = Run(path, config, model.network, model.shape.input_shape, model.record, weights)
    return run, notes


def _read_unfinished(path: Path) -> tuple[Run, list[str]]:
    """Read the last checkpoint of a run that has not come to its model."""
    status = status_of(path)
    if status == "finished":
        raise ConfigError(
            f"{path} holds no finished run: there is no {MODEL} in it; checkpoint='last' loads its "
            f"last checkpoint, and {resume_command(path)} makes what is missing"
        )
    if not holds_checkpoint(path):
        raise ConfigError(
            f"{path} holds no finished run: there is no {MODEL} in it, and no checkpoint"
        )
    run, notes = _read_checkpoint(path, "last")
    there = f"epoch {run.weights.epoch}, step {run.weights.step}"
    how = "is being trained" if status == "running" else f"has not finished ({status})"
    mend = "" if status == "running" else f"; {resume_command(path)} finishes it"
    return run, [
        f"{short(path)} {how}: these are the weights of its last checkpoint, of {there}{mend}",
        *notes,
    ]


def _unfinished(path: Path) -> str | None:
    """Give the status of a run that says that it has not finished; None for all others."""
    try:
        said = read_json(path / STATUS).get("status")
    except ConfigError:
        return None
    return status_of(path) if said in {"running", "interrupted", "failed", "pruned"} else None


def _read_dictionary(path: Path, checkpoint: str | None) -> Run:
    weights = find_weights(path)
    if weights is None:
        if not path.exists():
            raise ConfigError(f"{path}: no such folder or file; give that of a run")
        refuse_runs_within(path)
        raise ConfigError(f"{path} holds no finished run: there is no {CONFIG} in it")
    if checkpoint is not None:
        raise ConfigError(
            f"checkpoint={checkpoint}: {short(weights)} is a dictionary, which has no checkpoints; "
            "leave it out"
        )
    found = read_dictionary(weights)
    model = build_autoencoder(found.dictionary, found.input_shape)
    record = DataRecord(Inputs(unit_norm=found.unit_norm), None, REALS)
    network = Network(model, None, None)
    return Run(weights, None, network, found.input_shape, record, Weights(weights.name))

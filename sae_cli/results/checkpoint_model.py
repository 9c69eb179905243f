"""The model in a checkpoint, which training resumes from: its weights at some step of a run.

A checkpoint says nothing of its data. The model file does, where there is one; otherwise the
record of the environment has their shape, and the configuration tells how they were made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.network import Network, build_blueprint, build_network, build_network_parts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.core.machine import gave_out
from sae_cli.core.plugins.loaded import plugin_of
from sae_cli.core.shapes import DataShape
from sae_cli.core.text import short
from sae_cli.datasets.inputs import DataRecord
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.results.saved_config import earlier_record
from sae_cli.results.saved_model import SavedModel, Weights, read_data, shape_of
from sae_cli.run_folder.checkpoints import BEST, LAST, PREVIOUS, Checkpoints
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import CONFIG, ENVIRONMENT, MODEL
from sae_cli.run_folder.train_state import TrainState

FOLDER = "checkpoints"

# PyTorch raises these for the state of another network, or a forged one.
MISFITS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, OverflowError)

Tensors = dict[str, Tensor]


def holds_checkpoint(path: Path) -> bool:
    """Tell whether a run folder has a checkpoint that a run resumes from."""
    return any((path / FOLDER / name).is_file() for name in (LAST, PREVIOUS))


def read_checkpoint(
    path: Path, config: RunConfig, checkpoint: str
) -> tuple[SavedModel, Weights, list[str]]:
    """Read a model from a checkpoint, on the CPU, in evaluation mode; and change nothing.

    Args:
        path: the run folder.
        checkpoint: ``best``; or ``last``, in whose place the one before is read if it is damaged.

    Returns:
        the model, where its weights are from, and what is to be said of them.

    Raises:
        CheckpointError: there is none, or it is damaged or of another network.
        ConfigError: nothing tells what its data were.
    """
    name, state, notes = _read(path, checkpoint)
    file = path / FOLDER / name
    shape, record = _data_of(path, config, state)
    try:
        network = _network_of(file, config, state, shape)
    except MISFITS as error:
        if gave_out(error):
            raise
        raise CheckpointError(
            f"{file} does not fit {path / CONFIG} ({' '.join(str(error).split())}); put the files "
            "of one run together"
        ) from None
    if network.head is not None and not _tensors_of(state, "head"):
        notes.append(f"{short(file)} is of before the classifier was trained")
    weights = Weights(f"{FOLDER}/{name}", state.epoch, state.step)
    return SavedModel(network, shape, record), weights, notes


def _network_of(file: Path, config: RunConfig, state: TrainState, shape: DataShape) -> Network:
    """Build the network with the weights of a state; raise one of ``MISFITS`` if they do not fit.

    A state may come from a stranger, so that no more memory is taken than its file has bytes.
    """
    parts = build_network_parts(config)
    # The blueprint takes no memory, whatever the configuration asks for.
    blueprint = build_blueprint(config, parts, shape)
    _check_fit(state.model, dict(blueprint.autoencoder.state_dict()), file.stat().st_size)
    network = build_network(config, parts, shape)
    network.autoencoder.load_state_dict(state.model)
    if network.head is not None and (tensors := _tensors_of(state, "head")):
        network.head.load_state_dict(tensors)
    if network.penalty is not None:
        _load_penalty_(network.penalty, state)
    network.saved.eval()
    return network


def _read(path: Path, checkpoint: str) -> tuple[str, TrainState, list[str]]:
    checkpoints = Checkpoints(path / FOLDER)
    if checkpoint == "best":
        return BEST, checkpoints.read(BEST), []
    try:
        return LAST, checkpoints.read(LAST), []
    except CheckpointError as error:
        if not (path / FOLDER / PREVIOUS).is_file():
            raise
        return PREVIOUS, checkpoints.read(PREVIOUS), [f"{error}; {PREVIOUS} is read instead"]


def _data_of(path: Path, config: RunConfig, state: TrainState) -> tuple[DataShape, DataRecord]:
    """Tell the shape of a run's data, and how they were made."""
    if (path / MODEL).is_file():
        shape, record = read_data(path / MODEL)
        return shape, record or earlier_record(config)
    about = read_json(path / ENVIRONMENT)
    try:
        given = about["dataset"]
        shape = shape_of({key: given[key] for key in ("input_shape", "n_classes")})
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{path / ENVIRONMENT} does not say which shape the data have; resume the run"
        ) from None
    section = config.parts["dataset"]
    # How a plug-in makes its data, no checkpoint tells.
    is_ours = plugin_of("dataset", section["name"]) is None
    if section.get("centre") or section.get("scale") == "rms" or not is_ours:
        return shape, _recomputed(path, config, state)
    record = earlier_record(config)
    inputs = replace(record.inputs, axes=section.get("axes"), unit_norm=config.unit_norm)
    return shape, replace(record, inputs=inputs)


def _recomputed(path: Path, config: RunConfig, state: TrainState) -> DataRecord:
    """Read the data again for their centre and scale, which no checkpoint has."""
    data = read_dataset(config, download=False)
    if data.fingerprint() != state.data:
        raise ConfigError(
            f"{short(path)} has not come to its model file, which says how its data are made, "
            f"and the data are not those that it began with ({data.source}); put them "
            "back"
        )
    return data.record


def _load_penalty_(penalty: Penalty, state: TrainState) -> None:
    """Load what a penalty has learnt, which the objective of the whole network holds.

    Layers that are trained one by one have penalties of their own, of other shapes.
    """
    expected = _kinds(penalty.state_dict())
    for stage in reversed([*state.objectives]):
        tensors = _tensors_of(state, "penalty", stage)
        if _kinds(tensors) == expected:
            penalty.load_state_dict(tensors)
            return


def _tensors_of(state: TrainState, part: str, stage: str | None = None) -> Tensors:
    """Give the tensors of one part of a stage's objective, by default of the last stage's."""
    objective = state.objectives[[*state.objectives][-1] if stage is None else stage]
    start = f"{part}."
    return {key.removeprefix(start): x for key, x in objective.items() if key.startswith(start)}


def _check_fit(found: Tensors, expected: Tensors, n_bytes: int) -> None:
    """Raise ValueError for tensors of another network, or larger than their file."""
    if any(found[name].nbytes > n_bytes for name in found):
        # A tensor may repeat one stored number as often as it likes.
        raise ValueError("a tensor is larger than the file")
    faults = sorted(set(_kinds(found).items()) ^ set(_kinds(expected).items()), key=str)
    if faults:
        raise ValueError(f"{faults[0][0]} is absent, or of another shape or type")


def _kinds(tensors: Tensors) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}

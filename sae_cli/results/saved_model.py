"""The auto-encoder in a run folder: ``model.safetensors`` may come from a stranger.

Its header is compared with the configuration before memory is taken, so that a loaded model takes
no more memory than the file has bytes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pydantic
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_cli.assembly.network import Network, build_blueprint, build_network, build_network_parts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH, Count, Positive, Width
from sae_cli.core.registry import STRICT
from sae_cli.core.shapes import DataShape, Interval
from sae_cli.datasets.axes import Axes
from sae_cli.datasets.inputs import CENTRE, DataRecord, Inputs
from sae_cli.run_folder.files import read_file
from sae_cli.run_folder.layout import CONFIG, MODEL

MAX_AXES = 8
# Weights are float32 whatever they were trained in.
DTYPE = "F32"
SHOWN_FAULTS = 3
# Of one example whose axes have been put into order.
N_AXES: dict[Axes | None, int] = {
    **{"channels_first": 3, "channels_last": 3, "grey": 3},
    **{"as_stored": 1, "features": 1, "tokens": 1},
    None: 1,
}


class _Inputs(pydantic.BaseModel):
    """A ``DataRecord``, as the file's metadata hold it."""

    model_config = STRICT

    axes: Axes | None
    divisor: Positive
    unit_norm: bool
    integers: bool
    low: float | None
    high: float | None
    centred: bool = False
    scale: Positive = 1.0
    leading: Annotated[list[Count], pydantic.Field(max_length=MAX_AXES)] | None = None

    def record(self, centre: Tensor | None) -> DataRecord:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        inputs = Inputs(self.axes, self.divisor, self.unit_norm, centre, self.scale)
        leading = None if self.leading is None else tuple(self.leading)
        return DataRecord(inputs, self.integers, Interval(low, high), leading)


class Weights(NamedTuple):
    """Where the weights of a loaded run come from.

    Attributes:
        file: its name in the run folder.
        epoch, step: of a checkpoint; None for the weights that the run ended with.
    """

    file: str
    epoch: int | None = None
    step: int | None = None


# Those that a run ended with.
FINAL = Weights(MODEL)


class SavedModel(NamedTuple):
    """A model from its file, with the shape of its data and how they were made.

    ``record`` is None in the file of an earlier version.
    """

    network: Network
    shape: DataShape
    record: DataRecord | None


class _Shape(pydantic.BaseModel):
    """A ``DataShape``, as the file's metadata hold it."""

    model_config = STRICT

    input_shape: Annotated[list[Width], pydantic.Field(min_length=1, max_length=MAX_AXES)]
    n_classes: Count | None
    inputs: _Inputs | None = None


def read_model(folder: Path, config: RunConfig) -> SavedModel:
    """Read the saved network, on the CPU, in evaluation mode, and what is known of its data.

    Raises:
        ConfigError: the file cannot be read, is damaged, or holds other tensors than the
            configuration describes.
    """
    path = folder / MODEL
    parts = build_network_parts(config)
    try:
        # safetensors takes a file that may not be read for one that is not there.
        read_file(path, 0)
        with safe_open(path, "pt") as file:
            shape, inputs = _data((file.metadata() or {})["shape"])
            # The blueprint takes no memory, whatever the configuration asks for.
            expected = {
                name: (DTYPE, tuple(tensor.shape))
                for name, tensor in build_blueprint(config, parts, shape).saved.state_dict().items()
            }
            if inputs is not None and inputs.centred:
                expected[CENTRE] = (DTYPE, shape.input_shape)
            found = {name: _kind(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
            _compare(path, found, expected)
            tensors = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _fault(path, error) from None
    centre = tensors.pop(CENTRE, None)
    loaded = build_network(config, parts, shape)
    loaded.saved.load_state_dict(tensors)
    loaded.autoencoder.eval()
    return SavedModel(loaded, shape, None if inputs is None else inputs.record(centre))


def read_data(path: Path) -> tuple[DataShape, DataRecord | None]:
    """Read what a model file says of its data, without its weights.

    Raises:
        ConfigError: it cannot be read, or is damaged.
    """
    try:
        read_file(path, 0)
        with safe_open(path, "pt") as file:
            shape, inputs = _data((file.metadata() or {})["shape"])
            if inputs is None:
                return shape, None
            if not inputs.centred:
                return shape, inputs.record(None)
            if _kind(file.get_slice(CENTRE)) != (DTYPE, shape.input_shape):
                raise ValueError("its centre is not one of its examples")
            return shape, inputs.record(file.get_tensor(CENTRE))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _fault(path, error) from None


def shape_of(given: object) -> DataShape:
    """Check a shape of data, as ``environment.json`` holds it too.

    Raises:
        ValueError: it is not one.
    """
    return _data(json.dumps(given))[0]


def _fault(path: Path, error: Exception) -> ConfigError:
    if isinstance(error, OSError):
        return ConfigError(f"{path} cannot be read: {error.strerror or error}")
    reason = "its shape is not given" if isinstance(error, KeyError) else error
    return ConfigError(f"{path} is damaged or was not saved by sae-train ({reason})")


def _data(text: str) -> tuple[DataShape, _Inputs | None]:
    """Read a shape of data, and how they were made; raise ValueError if it is not that."""
    try:
        # No shape is longer than this; to parse more would only take memory.
        given = _Shape.model_validate_json(text[:1000])
    except pydantic.ValidationError:
        raise ValueError(f"its shape is {text[:100]}") from None
    shape = DataShape(tuple(given.input_shape), given.n_classes)
    if shape.n_features > MAX_WIDTH:
        raise ValueError(f"its shape is {text[:100]}, of more than {MAX_WIDTH} features")
    if given.inputs is not None and len(shape.input_shape) < N_AXES[given.inputs.axes]:
        raise ValueError(f"its shape is {text[:100]}, which has no axes {given.inputs.axes}")
    return shape, given.inputs


def _kind(saved: Any) -> tuple[str, tuple[int, ...]]:
    return saved.get_dtype(), tuple(saved.get_shape())


def _compare(
    path: Path,
    found: dict[str, tuple[str, tuple[int, ...]]],
    expected: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    faults = [
        f"{name} is {_describe(found.get(name))}, expected {_describe(expected.get(name))}"
        for name in sorted(found | expected)
        if found.get(name) != expected.get(name)
    ]
    if faults:
        more = len(faults) - SHOWN_FAULTS
        raise ConfigError(
            f"{path} does not fit {path.with_name(CONFIG)}: {'; '.join(faults[:SHOWN_FAULTS])}"
            f"{f'; and {more} more' if more > 0 else ''}; put the two files of one run together"
        )


def _describe(kind: tuple[str, tuple[int, ...]] | None) -> str:
    return "absent" if kind is None else f"{kind[0]} {kind[1]}"

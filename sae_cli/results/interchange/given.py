"""A file of tensors from a stranger, with the configuration beside it: read, never unpickled."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.machine import gave_out
from sae_cli.datasets.formats.npy import npz_keys, read_npz
from sae_cli.run_folder.files import read_file, read_json

T = TypeVar("T")
Matrices = tuple[Tensor, Tensor, Tensor, Tensor]


@final
@dataclass(frozen=True)
class Given:
    """An opened file.

    Attributes:
        path: of the file.
        names: of its tensors.
        metadata: texts in the file itself, of a .safetensors.
        load: reads the tensor of that name; raises what a damaged file raises.
    """

    path: Path
    names: frozenset[str]
    metadata: dict[str, str]
    load: Callable[[str], Tensor]

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def matrices(self) -> Matrices:
        """Load ``W_enc``, ``b_enc``, ``W_dec`` and ``b_dec``, the names that most libraries use.

        The bias of a gated encoder is ``b_gate``.
        """
        load, bias = self.load, "b_gate" if "b_gate" in self.names else "b_enc"
        return load("W_enc"), load(bias), load("W_dec"), load("b_dec")

    def config(self, name: str) -> dict[str, Any] | None:
        """Read the JSON file of that name beside it; None if there is none.

        Raises:
            ConfigError: it is damaged.
        """
        path = self.path.with_name(name)
        return read_json(path) if path.is_file() else None


def open_given(path: Path) -> Given:
    """Open a file by its ending, .safetensors, .pt or .npz.

    Raises:
        ConfigError: it cannot be read, is damaged, or holds more than tensors.
    """
    return reading(path, lambda: OPENERS[path.suffix.lower()](path))


def reading(path: Path, read: Callable[[], T]) -> T:
    """Call a reader; whatever a made-up file raises becomes a ConfigError that names the file."""
    try:
        return read()
    except ConfigError:
        raise
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{path} holds more than tensors and plain values, and nothing is unpickled; save its "
            "tensors alone, as safetensors"
        ) from None
    except Exception as error:
        if gave_out(error):
            raise
        known = isinstance(error, ValueError | OSError | SafetensorError | zipfile.BadZipFile)
        strerror = getattr(error, "strerror", None)
        text = strerror or (" ".join(str(error).split()) if known else type(error).__name__)
        raise ConfigError(f"{path} cannot be read ({text}); get a fresh copy of it") from None


def _open_safetensors(path: Path) -> Given:
    # safetensors takes a file that may not be read for one that is not there.
    read_file(path, 0)
    with safe_open(path, "pt") as file:
        names, metadata = frozenset(file.keys()), dict(file.metadata() or {})

    def load(name: str) -> Tensor:
        with safe_open(path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        # The file itself is not kept open, in which the tensor may lie.
        return tensor.clone()

    return Given(path, names, metadata, load)


def _open_torch(path: Path) -> Given:
    content = read_file(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed, as torch.save does not do")
    if unpacked > len(content):
        raise ValueError(f"it announces {unpacked} bytes, more than it has")
    with warnings.catch_warnings():
        # PyTorch warns of kinds of tensors that are refused below.
        warnings.simplefilter("ignore")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a dict of tensors")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        # A tensor may repeat one stored number as often as it likes.
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized or tensor.nbytes > len(content):
            raise ValueError(f"{name} is larger than the file, or not a plain tensor")
    return Given(path, frozenset(tensors), {}, lambda name: tensors[name].detach().clone())


def _open_npz(path: Path) -> Given:
    read_file(path, 0)

    def load(name: str) -> Tensor:
        return torch.from_numpy(read_npz(path, name))

    return Given(path, frozenset(npz_keys(path)), {}, load)


OPENERS: dict[str, Callable[[Path], Given]] = {
    ".safetensors": _open_safetensors,
    ".pt": _open_torch,
    ".npz": _open_npz,
}

"""The run folder: the only writer of what a run leaves behind.

Every file but ``metrics.jsonl`` and ``train.log``, which grow by whole lines, is written under
another name, flushed to disk and renamed, so that none is ever half-written.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
import safetensors.torch
import torch
import yaml
from torch import Tensor

from sae_cli.pictures.picture import Picture, render
from sae_cli.registry import ConfigError
from sae_cli.shapes import DataShape

STATUS = "status.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
SUMMARY = "summary.json"
LOG = "train.log"
OVERRIDES = "overrides.yaml"


@final
class RunFolder:
    """One run's folder.

    Args:
        path: the folder; made if absent. It becomes this run's with ``claim``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> None:
        """Make the folder this run's.

        Raises:
            ConfigError: it holds something already, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise FileExistsError
            # Exclusive creation decides between two runs that start in the same folder.
            with (self.path / STATUS).open("x") as file:
                file.write(_json({"status": "running", "pid": os.getpid()}))
        except FileExistsError:
            raise ConfigError(
                f"{self.path} is not an empty folder; choose another with hydra.run.dir=, or leave "
                "it out for a new one"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"cannot write into {self.path}: {error.strerror}; choose another folder with "
                "hydra.run.dir="
            ) from None

    def set_status(self, status: str, **details: Any) -> None:
        """``running``, ``finished``, ``interrupted`` or ``failed``."""
        self._write(STATUS, _json({"status": status, "pid": os.getpid(), **details}).encode())

    def write_config(self, config: Mapping[str, Any]) -> None:
        """The complete configuration."""
        self._write(CONFIG, yaml.safe_dump(dict(config), sort_keys=False).encode())

    def write_overrides(self, overrides: list[str]) -> None:
        """What the command line changed."""
        self._write(OVERRIDES, yaml.safe_dump(overrides).encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        self._write("environment.json", _json(environment).encode())

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``."""
        self._append(METRICS, json.dumps(_finite(line)))

    def log(self, line: str) -> None:
        """One line of ``train.log``."""
        self._append(LOG, line)

    def save_checkpoint(self, names: Sequence[str], state: Mapping[str, Any]) -> None:
        """``checkpoints/<name>.pt``: tensors and plain types, for ``weights_only=True``."""
        # Through memory, so that a full disk shows as such and not as a torn archive.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        for name in names:
            self._write(f"checkpoints/{name}.pt", buffer.getvalue())

    def save_model(self, tensors: Mapping[str, Tensor], shape: DataShape) -> None:
        """``model.safetensors``, with the shape of the data it was trained on."""
        # One key: safetensors writes several in a random order, and the file would not repeat.
        metadata = {"shape": json.dumps(asdict(shape))}
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self._write(MODEL, safetensors.torch.save(on_cpu, metadata))

    def save_picture(self, picture: Picture) -> None:
        """``pictures/<name>.png`` and beside it the numbers it shows, ``<name>.npz``."""
        numbers = io.BytesIO()
        np.savez_compressed(numbers, **picture.numbers)  # type: ignore[arg-type]
        self._write(f"pictures/{picture.name}.npz", numbers.getvalue())
        self._write(f"pictures/{picture.name}.png", render(picture))

    def save_profile(self, name: str, trace: bytes) -> None:
        """``profiles/<name>.json.gz``, a trace."""
        self._write(f"profiles/{name}.json.gz", trace)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write(SUMMARY, _json(summary).encode())

    def _append(self, name: str, line: str) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, content)


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, rename: readers see the old file or the new one."""
    target.parent.mkdir(exist_ok=True)
    # The process in the name, since the jobs of a sweep may write its results at the same time.
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    with _opened(target.parent) as folder:
        os.fsync(folder)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run folder's ``metrics.jsonl``."""
    return [json.loads(line) for line in (path / METRICS).read_text().splitlines()]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run folder."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(_finite(content), indent=2) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

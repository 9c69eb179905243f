"""The run folder: the only writer of what a run leaves behind.

Every file but ``metrics.jsonl`` and ``train.log``, which grow by whole lines, is written under
another name, flushed to disk and renamed, so that none is ever half-written.
"""

from __future__ import annotations

import io
import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import safetensors.torch
from torch import Tensor

from sae_cli.core.errors import MACHINE_GAVE_OUT, ConfigError, MovedError, in_one_line
from sae_cli.core.shapes import DataShape
from sae_cli.core.text import short
from sae_cli.run_folder.checkpoints import Checkpoints
from sae_cli.run_folder.files import (
    append_line,
    as_json,
    check_links,
    overwrite,
    refuse_hard_link,
    remove_temporaries,
    write_atomically,
)
from sae_cli.run_folder.layout import (
    BEFORE_TRAINING,
    CONFIG,
    ENVIRONMENT,
    LOG,
    METRICS,
    MODEL,
    OVERRIDES,
    STATUS,
    SUMMARY,
    holds_run,
    is_free,
    status_of_end,
)
from sae_cli.run_folder.lock import LOCK, check_in_place, lock
from sae_cli.run_folder.plain_yaml import as_yaml


@final
class RunFolder:
    """One run's folder.

    Attributes:
        path: the folder.
        checkpoints: those in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._status: str | None = None
        self._reserve: int | None = None

    def check_free(self) -> None:
        """Raise ConfigError unless a run may begin here."""
        if not is_free(self.path):
            what = f"{short(self.path)} is not an empty folder"
            raise ConfigError(f"{what}; choose another, or leave it out for a new one")

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the folder for a run that begins in it.

        Raises:
            ConfigError: it holds something already, or cannot be written.
            InUseError: another process is at work in it.
        """
        with lock(self.path):
            self.check_free()
            # What looks like the remains of a run may be a link.
            self._check_links()
            self.clean()
            try:
                with self._ending():
                    self.set_status("running")
                    yield
            except BaseException:
                if not holds_run(self.path):
                    self._withdraw()
                raise

    @contextmanager
    def reopen(self) -> Iterator[None]:
        """Hold the folder for the run in it, which is resumed.

        Raises:
            ConfigError: it does not hold a run, or something in it leads elsewhere.
            InUseError: another process is at work in it.
        """
        if not holds_run(self.path):
            raise ConfigError(
                f"{self.path} holds no run that has begun (there is no {CONFIG} in it); give the "
                "folder of one, or begin anew without resume="
            )
        with lock(self.path):
            self._check_links()
            with self._ending():
                yield

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Leave no run that has ended as one that is at work.

        A descriptor is kept in reserve, because the end is written even where no further file
        can be opened.
        """
        self._reserve = os.open(os.devnull, os.O_RDONLY)
        try:
            yield
        except BaseException as error:
            if self._status == "running" and holds_run(self.path):
                # The first error counts.
                with suppress(OSError, MemoryError, MovedError):
                    self.end(error)
            raise
        finally:
            self._free_reserve()

    def _free_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _check_links(self) -> None:
        """Raise ConfigError for what would have this run write elsewhere, or wait."""
        check_links(self.path)
        for path in (self.path / METRICS, self.path / LOG):
            if path.is_file():
                refuse_hard_link(path, path.stat())

    def _withdraw(self) -> None:
        """Remove the traces of a run whose training never began."""
        check_in_place(self.path)
        for name in BEFORE_TRAINING - {LOCK, LOG}:
            (self.path / name).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote."""
        remove_temporaries(self.path)
        for folder in self.path.iterdir():
            if folder.is_dir():
                remove_temporaries(folder)

    def set_status(self, status: str, **details: Any) -> None:
        """Write the status: ``running``, or one of ``ENDED``."""
        content = _as_file({"status": status, "pid": os.getpid(), **details})
        try:
            self._write(STATUS, content)
        except OSError as error:
            # A run that ended may not look like one at work because there is no room to say so.
            if self._status != "running" or error.errno not in MACHINE_GAVE_OUT:
                raise
            overwrite(self.path / STATUS, content)
        self._status = status

    def end(self, error: BaseException, **details: Any) -> str:
        """Say how a run ended that did not finish, and give its status.

        Args:
            details: beside the error, in ``status.json``.
        """
        self._free_reserve()
        status = status_of_end(error)
        self.set_status(status, error=str(error) or type(error).__name__, **details)
        trace = "".join(traceback.format_exception(error))
        self.log(trace if status == "failed" else str(error))
        return status

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the complete configuration."""
        self._write(CONFIG, as_yaml(dict(config)))

    def write_overrides(self, overrides: list[str]) -> None:
        """Write what the command line changed."""
        self._write(OVERRIDES, as_yaml(overrides))

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        self._write_json(ENVIRONMENT, environment)

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``."""
        append_line(self.path / METRICS, as_json(line, indent=None))

    def write_metrics(self, text: str) -> None:
        """Write ``metrics.jsonl`` anew."""
        self._write(METRICS, text.encode())

    def log(self, text: str) -> None:
        """Add a line, or the lines of a traceback, to ``train.log``, harmless for a terminal."""
        append_line(self.path / LOG, "\n".join(map(in_one_line, text.split("\n"))))

    def save_model(
        self,
        tensors: Mapping[str, Tensor],
        shape: DataShape,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``model.safetensors``, with the shape of the data it was trained on.

        Args:
            inputs: plain values on how the data were made, or None.
        """
        # There is only one key, because safetensors writes several in a random order.
        metadata = {"shape": json.dumps(asdict(shape) | ({"inputs": inputs} if inputs else {}))}
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self._write(MODEL, safetensors.torch.save(on_cpu, metadata))

    def save_picture(self, name: str, png: bytes, numbers: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write ``pictures/<name>.png`` and the numbers that it shows, ``<name>.npz``."""
        arrays = io.BytesIO()
        np.savez_compressed(arrays, **numbers)  # type: ignore[arg-type]
        self._write(f"pictures/{name}.npz", arrays.getvalue())
        self._write(f"pictures/{name}.png", png)

    def save_profile(self, name: str, trace: bytes) -> None:
        """Write a trace, ``profiles/<name>.json.gz``."""
        self._write(f"profiles/{name}.json.gz", trace)

    def save_code(self, name: str, content: bytes) -> None:
        """Keep a file of a plug-in, for people to read; it is never run by itself."""
        self._write(name, content)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write_json(SUMMARY, summary)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._write(name, _as_file(content))

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, content)


def _as_file(content: Mapping[str, Any]) -> bytes:
    return (as_json(content) + "\n").encode()

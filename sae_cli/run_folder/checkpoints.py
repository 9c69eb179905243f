"""Checkpoints: files that are whole or known not to be.

A run resumes from ``last.pt``, or from ``previous.pt``, the one before, if the last is damaged.
Each is a file of ``torch.save`` with tensors and plain types, and carries its own SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

import torch

from sae_cli.core.company import wait_for
from sae_cli.core.errors import CheckpointError
from sae_cli.core.machine import gave_out
from sae_cli.run_folder.files import write_atomically, write_beside
from sae_cli.run_folder.train_state import TrainState

LAST, PREVIOUS, DAMAGED, BEST = "last.pt", "previous.pt", "damaged.pt", "best.pt"
DIGEST_BYTES = hashlib.sha256().digest_size


@final
class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: made when the first one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: TrainState, *, best: bool) -> None:
        """Write ``last.pt``, keep the one before as ``previous.pt``, and write ``best.pt`` if best.

        Raises:
            OSError: the disk is full, for example; the old checkpoints stay.
        """
        content = pack(state.state_dict())
        # The best one is written first, because the last one may name it.
        if best:
            write_atomically(self.folder / BEST, content)
        last = self.folder / LAST
        with write_beside(last, content) as temporary:
            if last.exists():
                wait_for(partial(last.replace, self.folder / PREVIOUS))
            wait_for(partial(temporary.replace, last))

    def save_stage(self, name: str, state: TrainState) -> None:
        """Save the state at the end of a stage."""
        write_atomically(self.folder / f"{name}.pt", pack(state.state_dict()))

    def last(self) -> TrainState:
        """Read ``last.pt``, and no other.

        Raises:
            CheckpointError: it is damaged or missing, or cannot be read.
        """
        return self.read(LAST)

    def read(self, name: str) -> TrainState:
        """Read the checkpoint in the file of that name, and change nothing.

        Raises:
            CheckpointError: it is damaged or missing, or cannot be read.
        """
        file = self.folder / name
        if not file.is_file():
            raise CheckpointError(f"there is no {file}")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{file} cannot be read ({error.strerror})") from None
        return unpack(content, str(file))

    def load(self, say: Callable[[str], None]) -> TrainState | None:
        """Read the last checkpoint that is whole; None if there are no checkpoints.

        A damaged ``last.pt`` is kept as ``damaged.pt``.

        Args:
            say: called with a line about a damaged one.

        Raises:
            CheckpointError: there are some, and none is whole.
        """
        found = [self.folder / name for name in (LAST, PREVIOUS)]
        found = [file for file in found if file.is_file()]
        faults = []
        for file in found:
            try:
                state = unpack(file.read_bytes(), str(file))
            except CheckpointError as error:
                faults.append(str(error))
                continue
            if faults:
                say(f"{faults[0]}; resuming from {file.name}, of step {state.step}")
                (self.folder / LAST).replace(self.folder / DAMAGED)
            return state
        if not found:
            return None
        raise CheckpointError(
            f"no usable checkpoint: {'; '.join(faults)}; train it again with sae-reproduce "
            f"{self.folder.parent}"
        )


def pack(state: Mapping[str, Any]) -> bytes:
    """Pack a state as ``torch.save`` does, with the SHA-256 of the other bytes as last bytes.

    They are the comment of the archive. PyTorch itself does not notice a flipped bit.
    """
    # The archive is made in memory, so that a full disk shows as such and not as a torn archive.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    # An archive ends with the length of its comment, which was 0.
    body = buffer.getvalue()[:-2] + struct.pack("<H", DIGEST_BYTES)
    return body + hashlib.sha256(body).digest()


def unpack(content: bytes, name: str) -> TrainState:
    """Read the state in the bytes of a checkpoint; execute nothing that they may hold.

    Raises:
        CheckpointError: they are damaged, of another format, or not a checkpoint.
    """
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError(f"{name} is damaged (its SHA-256 differs)")
    try:
        _check_sizes(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = str(error).partition("Unsupported ")[2].splitlines()[:1]
        raise CheckpointError(
            f"{name} is not a checkpoint of sae-train (it holds more than tensors and plain values"
            f"{': ' if refused else ''}{''.join(refused)})"
        ) from None
    # A file that was made up may raise anything.
    except Exception as error:
        # A good checkpoint is not set aside because memory is short.
        if gave_out(error):
            raise
        raise CheckpointError(f"{name} cannot be read ({type(error).__name__})") from None
    return TrainState.from_state_dict(state, name)


def _check_sizes(content: bytes) -> None:
    """Raise ValueError for an archive that would unpack to more than its own size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("compressed")
    if sum(entry.file_size for entry in entries) > len(content):
        raise ValueError("larger than it is")

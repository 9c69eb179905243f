"""A cache of decoded files: each is decoded once, and mapped from then on.

Entries are .npy files named by the SHA-256 of what they were decoded from, in ``$SAE_CACHE``,
``$XDG_CACHE_HOME/sae-train`` or ``~/.cache/sae-train``. They may be removed at any time, and a
cache that cannot be read or written only costs the time to decode.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.array_file import open_array_file

DIGEST_BYTES = hashlib.sha256().digest_size


class Decoded(NamedTuple):
    """Values, uint8 ``(n_bytes,)``, possibly mapped and read-only, and their SHA-256."""

    values: NDArray[np.uint8]
    sha256: str


def load_or_decode(key: str, decode: Callable[[], NDArray[np.uint8]]) -> Decoded:
    """Load the entry ``key`` of the cache, or call ``decode`` and make its values the entry.

    Args:
        key: SHA-256 in hexadecimal of all that the decoded values depend on.
        decode: gives uint8 ``(n_bytes,)``; its errors are raised here.
    """
    folder = _folder()
    entry = None if folder is None else folder / f"{key}.npy"
    found = None if entry is None else _read(entry)
    if found is not None:
        return found
    values = decode()
    digest = hashlib.sha256(values.data)
    if entry is not None:
        _write(entry, values, digest.digest())
    return Decoded(values, digest.hexdigest())


def _folder() -> Path | None:
    """Find the folder of the cache, or None if this user has no home folder."""
    own, shared = (os.environ.get(name, "") for name in ("SAE_CACHE", "XDG_CACHE_HOME"))
    try:
        if own:
            return Path(own).expanduser().absolute()
        # The XDG specification says to ignore relative paths.
        if Path(shared).is_absolute():
            return Path(shared) / "sae-train"
        return Path.home() / ".cache" / "sae-train"
    except RuntimeError:
        return None


def _read(entry: Path) -> Decoded | None:
    """Read an entry, whose last bytes are the SHA-256 of the others; None if absent or damaged."""
    try:
        stored = open_array_file(str(entry), "SAE_CACHE").load(None).numpy()
        if stored.dtype != np.uint8 or stored.ndim != 1:
            return None
        values, expected = stored[:-DIGEST_BYTES], stored[-DIGEST_BYTES:]
        digest = hashlib.sha256(values.data)
    except (ConfigError, OSError):
        return None
    return Decoded(values, digest.hexdigest()) if digest.digest() == expected.tobytes() else None


def _write(entry: Path, values: NDArray[np.uint8], digest: bytes) -> None:
    """Write an entry whole or not at all; of two processes that write the same, the later wins."""
    # A read-only or full disk must not stop a run that has its values already.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=entry.parent) as staging:
            staged = Path(staging) / entry.name
            with staged.open("wb") as file:
                shape = (len(values) + len(digest),)
                write_array_header_1_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": shape}
                )
                file.write(values.data)
                file.write(digest)
            os.replace(staged, entry)

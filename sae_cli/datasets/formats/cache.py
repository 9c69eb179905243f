"""A cache of decoded files: each is decoded once, and mapped from then on.

Entries are .npy files named by the SHA-256 of what they were decoded from, in the folder of
``cache_folder``. They may be removed at any time, and a cache that cannot be read or written only
costs the time to decode.
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
from sae_cli.datasets.formats.cache_folder import cache_folder

SEAL_BYTES = hashlib.sha256().digest_size


class Decoded(NamedTuple):
    """Values, uint8 ``(n_bytes,)``, possibly mapped and read-only, and their SHA-256."""

    values: NDArray[np.uint8]
    sha256: str


def load_or_decode(
    key: str,
    decode: Callable[[], NDArray[np.uint8]],
    check: Callable[[NDArray[np.uint8]], object],
) -> Decoded:
    """Load the entry ``key`` of the cache, or call ``decode`` and make its values the entry.

    An entry that is damaged, belongs to another key or does not pass ``check`` is replaced.

    Args:
        key: SHA-256 in hexadecimal of all that the decoded values depend on.
        decode: gives uint8 ``(n_bytes,)``; its errors are raised here.
        check: raises ConfigError for values that ``decode`` would not give.
    """
    folder = cache_folder()
    entry = None if folder is None else folder / f"{key}.npy"
    found = None if entry is None else _read(entry, key)
    if found is not None:
        with contextlib.suppress(ConfigError):
            check(found.values)
            return found
    values = decode()
    made = Decoded(values, hashlib.sha256(values.data).hexdigest())
    if entry is not None:
        _write(entry, values, _seal(key, made.sha256))
    return made


def _seal(key: str, sha256: str) -> bytes:
    """Give the last bytes of an entry, which bind its values to its key."""
    return hashlib.sha256(f"{key} {sha256}".encode()).digest()


def _read(entry: Path, key: str) -> Decoded | None:
    """Read the entry of a key; None if it is absent, damaged, or the entry of another one."""
    try:
        stored = open_array_file(str(entry), "SAE_CACHE").load(None).numpy()
        if stored.dtype != np.uint8 or stored.ndim != 1:
            return None
        values, seal = stored[:-SEAL_BYTES], stored[-SEAL_BYTES:]
        found = Decoded(values, hashlib.sha256(values.data).hexdigest())
    except (ConfigError, OSError):
        return None
    return found if seal.tobytes() == _seal(key, found.sha256) else None


def _write(entry: Path, values: NDArray[np.uint8], seal: bytes) -> None:
    """Write an entry whole or not at all; of two processes that write the same, the later wins."""
    # A read-only or full disk must not stop a run that has its values already.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=entry.parent) as staging:
            staged = Path(staging) / entry.name
            with staged.open("wb") as file:
                shape = (len(values) + len(seal),)
                write_array_header_1_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": shape}
                )
                file.write(values.data)
                file.write(seal)
            os.replace(staged, entry)

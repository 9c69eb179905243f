"""Downloads that leave either whole files or nothing, and the message when files are missing."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path

# A connection that stays silent for this long is given up.
TIMEOUT_SECONDS = 30.0


class DownloadError(Exception):
    """A download failed; the text says why, in one line."""


def missing_files(
    dataset: str, names: Sequence[str], folders: Sequence[Path], ways: Sequence[str], why: str
) -> ConfigError:
    """Word the error for missing files: what was looked for, where, and how to get it.

    Args:
        ways: ways to get them, besides putting them there and naming another ``dataset.root``.
        why: why they were not downloaded.
    """
    places = ", ".join(str(folder) for folder in folders)
    means = [f"put them into {folders[0]}", "give dataset.root=FOLDER that has them", *ways]
    return ConfigError(
        f"dataset={dataset}: did not find {', '.join(names)} in {places}; {why}; "
        f"{', or '.join(means)}"
    )


def root_folder(root: str) -> Path:
    """``dataset.root`` as an absolute path, with ``~`` expanded.

    Raises:
        ConfigError: there is a file in the way, or no such user.
    """
    folder = full_path(root)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"dataset.root={root} is a file; give the folder of the data set's files")
    return folder


def download_files(
    root: Path, folder: str, names: Sequence[str], fetch: Callable[[Path], None]
) -> None:
    """Let ``fetch`` download into an empty folder, then move what ``root/folder`` lacks there.

    Files that are there already are kept. A failure, or Ctrl-C, leaves nothing behind.

    Args:
        root: created if need be.
        folder: the place of the files, below the folder given to ``fetch`` and below ``root``.
        names: the files wanted.

    Raises:
        DownloadError: no network, a damaged download, torchvision cannot be imported, ...
        OSError: the disk is full.
    """
    target = root / folder
    created = [path for path in (target, *target.parents) if not path.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as staging, _timeout():
            fetch(Path(staging))
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                if not (target / name).exists():
                    os.replace(Path(staging) / folder / name, target / name)
    # torchvision raises RuntimeError for most failures, and where it does not fit the installed
    # torch.
    except (ImportError, RuntimeError, OSError, EOFError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # torchvision's text has lines for every mirror; the first words say enough.
        text = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise DownloadError(f"{type(error).__name__}: {text}" if text else repr(error)) from None
    finally:
        for path in created:
            # rmdir removes a folder only if it is empty; those that were there before stay.
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""Where unpacked values are kept.

That is ``$SAE_CACHE``, ``$XDG_CACHE_HOME/sae-train`` or ``~/.cache/sae-train``.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Find the folder, which may not be there yet; None if this user has no home folder."""
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

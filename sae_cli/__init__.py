"""sae-train: sparse and other auto-encoders, trained from the command line.

``from sae_cli import load_run`` loads a finished run into Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_cli.results.load import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # The import waits for its first use, so that a typo is answered without importing torch.
    if name in __all__:
        from sae_cli.results import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

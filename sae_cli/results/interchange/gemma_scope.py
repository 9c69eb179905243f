"""Gemma Scope: ``params.npz``, JumpReLU dictionaries whose bias is added at the output only.

Those of the embedding layer take and give values that are scaled by the square root of their
width, which their file does not say.
"""

from __future__ import annotations

from sae_cli.results.interchange.dictionary import Dictionary
from sae_cli.results.interchange.given import Given

WEIGHTS = "params.npz"
NAMES = ("w_enc", "b_enc", "w_dec", "b_dec", "threshold")


def owns(given: Given) -> bool:
    """Tell whether a file has these arrays, in capital letters or not."""
    return given.suffix == ".npz" and {name.lower() for name in given.names} == {*NAMES}


def read(given: Given) -> Dictionary:
    """Read a dictionary; raise ValueError if the file is damaged."""
    spelled = {name.lower(): name for name in given.names}
    w_enc, b_enc, w_dec, b_dec, threshold = (given.load(spelled[name]) for name in NAMES)
    return Dictionary(w_enc, b_enc, w_dec, b_dec, "jumprelu", threshold=threshold)

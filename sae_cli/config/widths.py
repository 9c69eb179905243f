"""The two ways to give a width: whoever gives one takes back the other of a page below."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

GROUP = "architecture"
EITHER = {"n_latents": "expansion_factor", "expansion_factor": "n_latents"}


def taken_back(given: Any, below: Collection[str]) -> dict[str, None]:
    """Find the way that pages below have used where the other one is given alone.

    Args:
        given: options of the architecture, with their values.
        below: the names of the options that pages below have set.

    Returns:
        the option to unset, if any, without a value.
    """
    if not isinstance(given, Mapping):
        return {}
    return {
        other: None
        for one, other in EITHER.items()
        if given.get(one) is not None and other not in given and other in below
    }

"""A published figure that a run is compared with."""

from __future__ import annotations

import re
from typing import Annotated

import pydantic

from sae_cli.core.options import NonNegative
from sae_cli.core.registry import STRICT


def _one_line(given: str) -> str:
    if re.fullmatch(r"[^\r\n]+", given) is None:
        raise ValueError("must be a line of text")
    return given


Line = Annotated[str, pydantic.AfterValidator(_one_line)]
"""Text of one line."""


class Published(pydantic.BaseModel):
    """One entry of the setting ``published``; it changes no number of a run.

    Attributes:
        metric: a key of ``summary.json``, such as ``val/loss``.
        value: of that metric; None where nothing was published.
        tolerance: how far from ``value`` the mean over seeds may lie; None where that is unknown.
        source: where the value was published.
    """

    model_config = STRICT

    metric: str
    value: float | None
    tolerance: NonNegative | None
    source: Line

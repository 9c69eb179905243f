"""A published figure that a run is compared with."""

from __future__ import annotations

from typing import Annotated

import pydantic

from sae_cli.core.options import NonNegative
from sae_cli.core.registry import STRICT

Line = Annotated[str, pydantic.Field(pattern=r"^[^\r\n]+$")]
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

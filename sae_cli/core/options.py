"""Types that annotate options; each carries the range that is checked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MAX_FLOAT = 3.4e38
"""The largest number that an option may have: tensors of float32 hold no larger one."""

MAX_INT = 2**63 - 1
"""The largest whole number of a tensor."""

Count = Annotated[int, Field(ge=1, le=MAX_INT)]
"""A number of things, at least one."""

MAX_WIDTH = 2**30
"""The most units of a layer; torch can still count the weights between two such layers."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
"""The number of units of a layer."""

Steps = Annotated[int, Field(ge=1, le=100_000)]
"""Steps within one pass, such as those of an inference; useful numbers are far smaller."""

MAX_PAIRED = 2**14
"""The most latents of which every pair has a number; these numbers take a gigabyte."""

Natural = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of things, possibly none."""

NonNegative = Annotated[float, Field(ge=0, le=MAX_FLOAT)]
"""A weight, a standard deviation."""

Positive = Annotated[float, Field(gt=0, le=MAX_FLOAT)]
"""A learning rate."""

WarmUpSteps = Annotated[int, Field(ge=0, le=10**9)]
"""Steps over which a weight grows from 0; 0 for no warm-up."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A share from none up to, but not including, all."""

OpenUnit = Annotated[float, Field(gt=0, lt=1)]
"""A target activity: a firing rate strictly between never and always."""

UnitInterval = Annotated[float, Field(ge=0, le=1)]
"""A share from none to all."""


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Folders = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
"""One folder or several, of which the first with the files is read."""

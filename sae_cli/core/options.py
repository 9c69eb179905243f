"""The types that options are annotated with; each carries the range that the check enforces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
"""A number of things, at least one."""

MAX_WIDTH = 2**30
"""A weight between two layers of so many units still has a size that torch can count."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
"""A number of units of a layer."""

Steps = Annotated[int, Field(ge=1, le=100_000)]
"""Steps within one pass, such as those of an inference; far fewer are of use."""

MAX_PAIRED = 2**14
"""Latents of which every pair has a number, which takes a gigabyte for so many."""

Natural = Annotated[int, Field(ge=0)]
"""A number of things, or none."""

NonNegative = Annotated[float, Field(ge=0)]
"""A weight, a standard deviation."""

Positive = Annotated[float, Field(gt=0)]
"""A learning rate."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A share from 0 up to, but not, all."""

OpenUnit = Annotated[float, Field(gt=0, lt=1)]
"""A target activity: a firing rate strictly between never and always."""

UnitInterval = Annotated[float, Field(ge=0, le=1)]
"""A share from none to all."""

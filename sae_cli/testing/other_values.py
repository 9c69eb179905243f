"""Values that an option could have in place of its own, made from its annotation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

NUMBERS = (0.5, 0.3, 2.0, 0.1, 0.01)
COUNTS = (9, 50)


def other_values(annotation: Any, value: Any) -> Iterator[Any]:
    """Yield other values of that type, which may be out of its range; far ones first."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from other_values(arguments[0], value)
    elif origin in (Union, UnionType):
        own = (other_values(one, value) for one in arguments if one is not NoneType)
        yield from chain(*own)
    elif origin is Literal:
        yield from (choice for choice in arguments if choice != value)
    elif origin is list:
        first = value[0] if value else None
        for one in other_values(arguments[0], first):
            yield [one] * max(1, len(value or ()))
        if value and len(value) == 2 and isinstance(first, int):
            # Of the same product: the sides of a sheet.
            yield [first // 2, value[1] * 2]
    elif annotation is bool:
        yield not value
    elif annotation is int:
        near = () if value is None else (value + 1, value * 2, value // 2, value + 3)
        yield from (count for count in (*near, *COUNTS) if count != value)
    elif annotation is float:
        yield from (number for number in NUMBERS if number != value)

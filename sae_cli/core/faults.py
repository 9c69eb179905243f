"""What pydantic finds wrong with options, in one line of our words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pydantic

from sae_cli.core.errors import nearest
from sae_cli.core.options import MAX_FLOAT, MAX_INT
from sae_cli.core.text import counted

# The words that the help has for the same.
WORDS = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list",
    "dict_type": "must have names, {NAME:VALUE}",
    "model_type": "must have names, {NAME:VALUE}",
    "none_required": "must be null",
    "int_parsing_size": f"must be less than or equal to {MAX_INT}",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "invalid_key": "is not text",
}
# Other tools take these for true and false.
TRUTHS = dict.fromkeys(["yes", "on", "y", "1"], "true") | dict.fromkeys(
    ["no", "off", "n", "0"], "false"
)
# These are about a name, and not about a value.
NAMING = {"extra_forbidden", "invalid_key", "missing"}


def describe(
    error: pydantic.ValidationError,
    options: Mapping[str, Any],
    schema: type[pydantic.BaseModel],
    prefix: str,
    takes: str,
) -> str:
    """Word the first fault of options.

    Args:
        prefix: stands before their names.
        takes: comes before the list of all that there are.
    """
    # Unknown keys come first, because a typo also makes the right key look missing.
    faults: list[Any] = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    first = faults[0]
    path: tuple[int | str, ...] = first["loc"]
    if first["type"] in NAMING:
        return _misnamed(first, _fields_around(schema, path), prefix, takes)
    if path[-1] == "[key]":
        key = prefix + ".".join(map(str, path[:-2]))
        return f"{key}: its name {as_typed(first['input'])} {allowed(first)}"
    if _is_choice(schema, path[0]):
        return _of_no_kind([one for one in faults if one["loc"][0] == path[0]], options, prefix)
    return _unfit(first, prefix + ".".join(map(str, path)))


def in_short(error: pydantic.ValidationError) -> str:
    """Word the first fault of what a file holds: ``KEY: must be a number``."""
    faults: list[Any] = error.errors()
    first = faults[0]
    path = first["loc"]
    # Of a value that may be of several kinds there is a fault for each, whose last step names it.
    kinds = [one for one in faults if one["loc"][:-1] == path[:-1]]
    of_one_value = all(one["input"] is first["input"] for one in kinds)
    if len(kinds) > 1 and of_one_value and first["type"] not in NAMING:
        return f"{'.'.join(map(str, path[:-1]))}: {_either(kinds)}".removeprefix(": ")
    return f"{'.'.join(map(str, path))}: {allowed(first)}".removeprefix(": ")


def _misnamed(fault: Any, fields: Sequence[str], prefix: str, takes: str) -> str:
    """Word the fault of a key that is missing, or that there is not."""
    *outer, name = map(str, fault["loc"])
    prefix += "".join(f"{step}." for step in outer)
    listed = f"{'it takes' if outer else takes} {', '.join(fields) if fields else 'no options'}"
    if fault["type"] == "missing":
        return f"{prefix}{name} is missing: {listed}; give {prefix}{name}=VALUE"
    value = f"={as_typed(fault['input'])}" if fault["type"] == "extra_forbidden" else ""
    return f"unknown option {prefix}{name}{value}: {listed}{nearest(name, fields, prefix)}"


def _of_no_kind(faults: list[Any], options: Mapping[str, Any], prefix: str) -> str:
    """Word the faults of an option that takes several kinds of value, each with its fault."""
    within = [one for one in faults if len(one["loc"]) > 2]
    if within:
        # Of a list, what is wrong is in it. The second step names the kind.
        name, _, *rest = within[0]["loc"]
        return _unfit(within[0], prefix + ".".join(map(str, (name, *rest))))
    name = faults[0]["loc"][0]
    return f"{prefix}{name}={as_typed(options[name])}: {_either(faults)}"


def _either(faults: Sequence[Any]) -> str:
    """Word what would be allowed of either kind: ``must be a whole number or null``."""
    first, *others = dict.fromkeys(map(allowed, faults))
    return " or ".join([first, *(re.sub("^must (be )?", "", other) for other in others)])


def _unfit(fault: Any, key: str) -> str:
    given, hint = fault["input"], ""
    meant = TRUTHS.get(str(given).lower(), "")
    if fault["type"] == "literal_error":
        choices = _choices(fault).replace("'", "").replace(" or ", ", ").split(", ")
        hint = f"; did you mean {meant}?" if meant in choices else nearest(str(given), choices)
    if fault["type"] == "bool_type" and meant:
        hint = f"; did you mean {meant}?"
    if fault["type"] == "string_type":
        hint = f" (in a page '...', on the command line '{key}=\"...\"')"
    if fault["type"] == "list_type" and isinstance(given, str | int | float):
        hint = f", for example {key}=[{as_typed(given)}]"
    return f"{key}={as_typed(given)}: {allowed(fault)}{hint}"


def allowed(fault: Any) -> str:
    """Word what pydantic would allow in place of what it found: ``must be a number``."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in WORDS:
        return WORDS[kind]
    if kind == "less_than_equal" and context["le"] == MAX_FLOAT:
        return f"must be less than or equal to {MAX_FLOAT:g}"
    if kind in {"too_short", "too_long"}:
        least, n = kind == "too_short", context.get("min_length") or context["max_length"]
        return f"must have at {'least' if least else 'most'} {counted(n, 'item')}"
    if kind == "literal_error":
        return f"must be {_choices(fault)}"
    # Those of checks are in words of their own.
    text = str(fault["msg"]).removeprefix("Value error, ")
    return re.sub(r"^(Input|String|Value) should ", "must ", text)


def _choices(fault: Any) -> str:
    return re.sub(
        r"\b(True|False)\b(?!')", lambda found: found[0].lower(), fault["ctx"]["expected"]
    )


def as_typed(value: Any) -> str:
    """Write a value as it would be typed."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields_around(schema: type[pydantic.BaseModel], path: Sequence[int | str]) -> list[str]:
    """Name what stands beside a key, which may be in lists of sections."""
    for step in path[:-1]:
        if isinstance(step, str):
            annotation: Any = schema.model_fields[step].annotation
            (schema,) = get_args(annotation) or (annotation,)
    return list(schema.model_fields)


def _is_choice(schema: type[pydantic.BaseModel], name: int | str) -> bool:
    """Whether an option takes values of several kinds, besides null."""
    annotation = schema.model_fields[str(name)].annotation
    kinds = [one for one in get_args(annotation) if one is not NoneType]
    return get_origin(annotation) in {Union, UnionType} and len(kinds) > 1

"""What is said of options that a schema does not take: every kind of fault, in words of our own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic
import pytest

from sae_cli.config.schema import GROUPS
from sae_cli.config.settings import Settings
from sae_cli.core.errors import ConfigError
from sae_cli.core.faults import allowed, in_short
from sae_cli.core.registry import STRICT, validate
from sae_cli.trackers import TRACKERS

# Of every type that a page or a command line gives.
ODD: tuple[Any, ...] = (
    *(
        None,
        "x",
        "",
        "a\nb",
        "2",
        "yes",
        True,
        -1,
        0,
        2,
        2**70,
        -0.5,
        1.5,
        math.nan,
        math.inf,
        3.9e38,
    ),
    *([], [None], ["x"], [True], [-1], [1.5], [2**70], [[1]], [1, 2], [1, 2, 3, 4], ["a", "a"]),
    *({}, {"a": 1}, {1: 2}, {1: {}}, [{}], [{"metric": 1, "a": 2}], [{"source": "a\nb"}]),
)
# What says what would do, in words that the help has, too.
WORDS = re.compile(
    r"must be (true or false|text; put it in quotes|a list|a line of text)"
    r"|must be a (whole |finite )?number"
    r"|must be ((greater|less) than( or equal to)? )[-\d.e+]+"
    r"|must be ('\w+'|[\d.]+|false|true)(, '\w+')*( or ('\w+'|\d+))?"
    r"|must have (names, {NAME:VALUE}|at (least|most) \d+ items?)"
)


def faults(schema: type[pydantic.BaseModel]) -> Iterator[Any]:
    for option in schema.model_fields:
        for value in ODD:
            try:
                schema.model_validate({option: value})
            except pydantic.ValidationError as error:
                yield from (one for one in error.errors() if one["loc"][0] == option)


def test_every_fault_of_every_option_is_in_words_of_our_own() -> None:
    registries = [*GROUPS.values(), TRACKERS]
    schemas = [registry.schema(name) for registry in registries for name in registry.names]
    schemas.append(Settings)
    kinds = set()
    for schema in schemas:
        for fault in faults(schema):
            kinds.add(fault["type"])
            if fault["type"] not in {"missing", "extra_forbidden"}:
                assert WORDS.fullmatch(allowed(fault)), (schema, fault)
    assert {"bool_type", "model_type", "dict_type", "too_short", "value_error"} <= kinds


class Inner(pydantic.BaseModel):
    model_config = STRICT

    width: int
    height: int = 1


def halved(given: int) -> int:
    if given % 2:
        raise ValueError("must be even")
    return given


class Options(pydantic.BaseModel):
    """What annotations of our own and of plug-ins can ask for."""

    model_config = STRICT

    switch: bool = False
    n: int | float = 1
    sizes: list[int] | Literal["auto"] = "auto"
    rows: list[list[int]] = []
    pair: Annotated[list[int], pydantic.Field(min_length=2, max_length=2)] = [1, 2]
    named: dict[str, int] = {}
    inner: list[Inner] = []
    nothing: None = None
    channels: Literal[1, 3] = 1
    centre: Literal[False, "mean", "True"] = False
    even: Annotated[int, pydantic.AfterValidator(halved)] = 2
    thirds: Annotated[int, pydantic.Field(multiple_of=3)] = 3
    short: Annotated[str, pydantic.Field(max_length=3)] = ""
    nullable: bool | None = None


TAKES = ", ".join(Options.model_fields)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"switch": "maybe"}, "a.switch=maybe: must be true or false"),
        ({"switch": 1}, "a.switch=1: must be true or false; did you mean true?"),
        ({"nullable": "no"}, "a.nullable=no: must be true or false; did you mean false?"),
        ({"switch": "YES"}, "a.switch=YES: must be true or false; did you mean true?"),
        ({"switch": 2}, "a.switch=2: must be true or false"),
        ({"centre": "off"}, "a.centre=off: must be false, 'mean' or 'True'; did you mean false?"),
        ({"n": "x"}, "a.n=x: must be a whole number or a number"),
        ({"sizes": "x"}, "a.sizes=x: must be a list or 'auto'"),
        ({"sizes": [1, "x"]}, "a.sizes.1=x: must be a whole number"),
        ({"rows": 3}, "a.rows=3: must be a list, for example a.rows=[3]"),
        ({"rows": None}, "a.rows=null: must be a list"),
        ({"rows": [[1], ["x"]]}, "a.rows.1.0=x: must be a whole number"),
        ({"pair": [1]}, "a.pair=[1]: must have at least 2 items"),
        ({"pair": [1, 2, 3]}, "a.pair=[1, 2, 3]: must have at most 2 items"),
        ({"named": "x"}, "a.named=x: must have names, {NAME:VALUE}"),
        ({"named": {1: 2}}, "a.named: its name 1 must be text; put it in quotes"),
        ({"named": {"x": "y"}}, "a.named.x=y: must be a whole number"),
        ({"inner": ["x"]}, "a.inner.0=x: must have names, {NAME:VALUE}"),
        (
            {"inner": [{"width": 1, "hieght": 2}]},
            "unknown option a.inner.0.hieght=2: it takes width, height; did you mean "
            "a.inner.0.height?",
        ),
        (
            {"inner": [{"height": 2}]},
            "a.inner.0.width is missing: it takes width, height; give a.inner.0.width=VALUE",
        ),
        ({"nothing": 1}, "a.nothing=1: must be null"),
        ({"centre": "men"}, "a.centre=men: must be false, 'mean' or 'True'; did you mean mean?"),
        ({"channels": 2}, "a.channels=2: must be 1 or 3"),
        ({"channels": 2**70}, f"a.channels={2**70}: must be less than or equal to {2**63 - 1}"),
        ({"even": 3}, "a.even=3: must be even"),
        ({"thirds": 4}, "a.thirds=4: must be a multiple of 3"),
        ({"short": "long"}, "a.short=long: must have at most 3 characters"),
        (
            {"swicth": True},
            f"unknown option a.swicth=true: b takes {TAKES}; did you mean a.switch?",
        ),
        ({1: 2}, f"unknown option a.1: b takes {TAKES}"),
    ],
)
def test_a_fault_of_each_kind(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Options, options, "a", "b takes")
    assert str(caught.value) == says


class OfFile(pydantic.BaseModel):
    model_config = STRICT

    width: int
    height: int
    k: Annotated[int, pydantic.Field(gt=0)] | Literal["auto"] = 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"width": 1, "height": 2, "k": 0.5}, "k: must be a whole number or 'auto'"),
        ({"width": "x", "height": "y"}, "width: must be a whole number"),
        ({}, "width: is missing"),
        ([], "must have names, {NAME:VALUE}"),
    ],
)
def test_the_first_fault_of_a_file(content: Any, says: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        OfFile.model_validate(content)
    assert in_short(caught.value) == says

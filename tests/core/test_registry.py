"""What a registry makes of options, good and bad."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, NonNegative
from sae_cli.core.registry import Registry

SHAPES: Registry[tuple[Any, ...]] = Registry("shape")


@SHAPES.register("box")
def box(
    given: str,
    *,
    width: NonNegative,
    sides: list[Count],
    colour: Literal["red", "blue"],
    label: str | None,
) -> tuple[Any, ...]:
    return given, width, sides, colour, label


GOOD = {"name": "box", "width": 1, "sides": [3], "colour": "red", "label": None}


def test_builds_from_what_is_given_and_the_options() -> None:
    assert SHAPES.build(SHAPES.check(GOOD), "x") == ("x", 1.0, [3], "red", None)


def test_an_integer_becomes_the_float_it_stands_for() -> None:
    assert type(SHAPES.check(GOOD)["width"]) is float


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": -1}, "shape.width=-1: must be greater than or equal to 0"),
        ({"width": "abc"}, "shape.width=abc: must be a number"),
        ({"width": True}, "shape.width=true: must be a number"),
        ({"width": float("nan")}, "shape.width=nan: must be a finite number"),
        ({"width": None}, "shape.width=null: must be a number"),
        ({"width": "???"}, "shape.width needs a value; give shape.width=VALUE"),
        ({"sides": 3}, "shape.sides=3: must be a list, for example shape.sides=[3]"),
        ({"sides": [0]}, "shape.sides.0=0: must be greater than or equal to 1"),
        ({"sides": [1.5]}, "shape.sides.0=1.5: must be a whole number"),
        ({"colour": "rad"}, "shape.colour=rad: must be 'red' or 'blue'; did you mean red?"),
        ({"widht": 1}, "unknown option shape.widht=1: box takes width, sides, colour, label"),
        ({"widht": 1}, "; did you mean shape.width?"),
        ({"name": "bix"}, "shape=bix is unknown; choose one of box; did you mean box?"),
        ({"name": 3}, "is not a part with a name; choose one of box"),
    ],
)
def test_a_fault_is_one_line_that_says_what_is_allowed(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SHAPES.check(GOOD | change)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(ConfigError, match=r"shape\.width is missing: box takes width, sides"):
        SHAPES.check({key: value for key, value in GOOD.items() if key != "width"})


def test_a_section_that_is_not_a_mapping() -> None:
    with pytest.raises(ConfigError, match="shape='l1' is not a part with a name"):
        SHAPES.check("l1")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        SHAPES.register("box")(box)


def test_an_error_is_one_harmless_line_whatever_it_quotes() -> None:
    """A stranger's file may hold a line break, a terminal's command or a very long value."""
    assert str(ConfigError("a\nb\x1b[2J ä\u3000\u2028")) == "a\\nb\\x1b[2J ä\u3000\\u2028"
    text = str(ConfigError("begin" + "\n" * 10**6 + "end"))
    assert text.startswith("begin") and text.endswith("end") and len(text) < 10_000

"""Conditions on runs, against Python's own comparisons."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.results.listing.conditions import parse
from sae_cli.results.listing.listed import Listed

SETTINGS: dict[str, Any] = {
    **{"model": "sparse_kl", "experiment": None, "seed": 3, "unit_norm": True, "note": "1e3"},
    **{"penalty": "kl", "penalty.weight": 0.05, "architecture.hidden_sizes": [200, 50]},
}
RUN = Listed(
    Path("/outputs/a b"), "finished", SETTINGS, {"val/fvu": 0.19, "val/l0": 12, "x": None}, None
)


@pytest.mark.parametrize(
    ("text", "meets"),
    [
        ("model=sparse_kl and val/fvu<0.2", True),
        ("model == sparse_kl and val/fvu < 0.19", False),
        ("val/fvu<=0.19", True),
        ("val/fvu>=.19 and val/fvu>1.8e-1", True),
        ("seed=3 and seed=3.0 and seed!=4", True),
        ("seed=true", False),
        ("unit_norm=true", True),
        ("unit_norm=1", False),
        ("experiment=null and x=null and nothing=null", True),
        ("model!=null", True),
        ("note=1e3", True),
        ("note=1000", False),
        ("penalty=kl and penalty.weight=5e-2", True),
        ("architecture.hidden_sizes=[200,50]", True),
        ('name="a b"', True),
        ("name='a b' or nonsense=1", True),
        ("nothing<1", False),
        ("nothing!=1", True),
        ("not nothing=1", True),
        ("not not seed=3", True),
        ("model<3", False),
        ("model>r and model<t", True),
        ("status=failed or status=finished and seed=3", True),
        ("(status=failed or status=finished) and seed=4", False),
        ("not (seed=4 or seed=5)", True),
        ("((seed=3))", True),
        ("path='/outputs/a b'", True),
    ],
)
def test_conditions(text: str, meets: bool) -> None:
    condition, _ = parse(text)
    assert condition(RUN) is meets


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a name is missing"),
        ("model", "an operator after model is missing"),
        ("model=", "a value after model= is missing"),
        ("model sparse_kl", "an operator after model is missing"),
        ("model=a b=c", "'b' is one word too many"),
        ("model=a and", "a name is missing"),
        ("(model=a", "a parenthesis is not closed"),
        ("model=a)", "')' is one word too many"),
        ("model=='a", '"\'" is not read'),
        ("=a", "a name is missing"),
        ("'model'=a", "a name is missing"),
        ("(" * 5000 + "model=a", "it is more than 50 levels deep"),
        ("not " * 5000 + "model=a", "it is more than 50 levels deep"),
        ("__import__('os').system('x')=1", "an operator after __import__ is missing"),
        ("model=a; import os", "'import' is one word too many"),
    ],
)
def test_what_is_no_condition_is_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_names_are_told() -> None:
    assert parse("a=1 and (b.c<2 or not d/e='a')")[1] == {"a", "b.c", "d/e"}


def test_what_is_not_a_number_meets_no_order() -> None:
    run = Listed(Path("x"), "finished", {}, {"val/fvu": math.nan}, None)
    assert not parse("val/fvu<1")[0](run) and not parse("val/fvu>=1")[0](run)


def made_up(rng: random.Random, depth: int) -> tuple[str, str]:
    """A condition here, and the same in Python."""
    kind = rng.choice(["and", "or", "not", "one"]) if depth else "one"
    if kind == "one":
        name, value = rng.choice(["a", "b", "c"]), rng.randint(0, 3)
        sign = rng.choice(["==", "!=", "<", "<=", ">", ">="])
        own = rng.choice([sign, " " + sign + " "])
        return f"{name}{own if sign != '==' else rng.choice(['=', '=='])}{value}", (
            f"({name} {sign} {value})"
        )
    one, in_python = made_up(rng, depth - 1)
    if kind == "not":
        return f"not ({one})", f"(not {in_python})"
    other, other_in_python = made_up(rng, depth - 1)
    return f"({one}) {kind} ({other})", f"({in_python} {kind} {other_in_python})"


def test_random_conditions_are_those_of_python() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text, in_python = made_up(rng, 4)
        values = {name: rng.randint(0, 3) for name in "abc"}
        run = Listed(Path("x"), "finished", values, {}, None)
        assert parse(text)[0](run) is bool(eval(in_python, {}, values)), text

"""Spaced values of a sweep, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.config.compose import hydra_ready, read_words
from sae_cli.config.spaced import spell_out
from sae_cli.core.errors import ConfigError

SPACED = [
    ("logspace(1e-4,1,9)", np.geomspace(1e-4, 1, 9)),
    ("logspace(1,1e-3,4)", np.geomspace(1, 1e-3, 4)),
    ("logspace(3,7,5)", np.geomspace(3, 7, 5)),
    ("linspace(0,1,5)", np.linspace(0, 1, 5)),
    ("linspace(-1, 1, 4)", np.linspace(-1, 1, 4)),
    ("linspace(2,1,2)", np.linspace(2, 1, 2)),
]


@pytest.mark.parametrize(("text", "values"), SPACED, ids=[text for text, _ in SPACED])
def test_values_are_those_of_numpy(text: str, values: np.ndarray) -> None:
    key, _, listed = spell_out(f"penalty.weight={text}", []).partition("=")
    assert key == "penalty.weight"
    found = [float(value) for value in listed.split(",")]
    np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-12)
    # The ends are as they were given.
    assert (found[0], found[-1]) == (values[0], values[-1])


def test_whole_numbers_stay_whole() -> None:
    assert spell_out("n=logspace(16,1024,4)", []) == "n=16,64,256,1024"
    assert spell_out("n=logspace(1048576,4194304,3)", []) == "n=1048576,2097152,4194304"


def test_names_stay_as_they_are() -> None:
    for word in ("dataset.path=logspace(1,2,3)", "model=linspace(1,2,3)", "a=range(1,3)", "a"):
        assert spell_out(word, ["model"]) == word


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("logspace(0,1,3)", "both ends of a logspace must be above 0"),
        ("logspace(-1,1,3)", "both ends of a logspace must be above 0"),
        ("logspace(1,2)", "write logspace(START,END,N)"),
        ("linspace(1,2,1)", "at least 2"),
        ("linspace(1,2,2.5)", "write linspace(START,END,N)"),
        ("linspace(1,inf,3)", "two numbers"),
        ("logspace(1,1e999,3)", "two numbers"),
        ("linspace(1,2,1000000000)", "at most 10000 values"),
        ("linspace()", "write linspace(START,END,N)"),
    ],
)
def test_others_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^a\.b=") as refused:
        spell_out(f"a.b={text}", [])
    assert says in str(refused.value)


def test_they_stand_beside_hydras_own() -> None:
    words = ["penalty.weight=logspace(0.01,1,3)", "seed=range(0,2)", "model=choice(topk,gated)"]
    with hydra_ready():
        jobs, _, search = read_words(words, multirun=True)
    assert search is None
    assert len(jobs) == 3 * 2 * 2
    assert jobs[0] == ["penalty.weight=0.01", "seed=0", "model=topk"]
    assert jobs[-1] == ["penalty.weight=1", "seed=1", "model=gated"]

"""The table that a run ends with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sae_cli.runs.closing import closing_table

SPLITS = ("train", "val", "test")


def shown(l0: float, active_above: float) -> str:
    activation = SimpleNamespace(active_above=active_above)
    model: Any = SimpleNamespace(activation=activation, n_latents=10)
    metrics = {"loss": 1.0, "l0": l0, "dead_latents": 0.0}
    final = {f"{part}/{key}": value for part in SPLITS for key, value in metrics.items()}
    return "\n".join(closing_table(final, model, None))


@pytest.mark.parametrize(("l0", "active_above"), [(9.9, 0.0), (10.0, 0.1), (3.0, 0.1)])
def test_the_table_says_how_many_codes_are_active_and_when_one_is(
    l0: float, active_above: float
) -> None:
    text = shown(l0, active_above)
    assert "\nl0 " in text and "\ndead_latents " in text
    assert f"a code is active when its magnitude exceeds {active_above:g}." in text


def test_the_table_leaves_out_how_many_are_active_where_all_are() -> None:
    text = shown(10.0, 0.0)
    assert "l0" not in text and "dead_latents" not in text and "active" not in text
    assert text.endswith("Metrics of the final weights.")

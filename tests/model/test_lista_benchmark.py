"""A trained encoder of three steps against ISTA (Gregor and LeCun 2010)."""

from __future__ import annotations

import pytest

from benchmarks.lista import study


@pytest.mark.slow
def test_three_learned_steps_are_worth_many_of_ista() -> None:
    found = study(3, n_latents=64, dictionary_epochs=5, epochs=20)
    assert found.lista < found.ista / 3
    assert found.ista_to_match >= 30
    assert found.fista_to_match >= 6
    assert found.n_active < 32

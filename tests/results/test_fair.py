"""How sparse codes are, in a metric that the model is meant to be judged by."""

from __future__ import annotations

from typing import Any

import pytest

from sae_cli.results.fair import Fair, conditions, dead, is_trade_off, sparsity
from tests.contracts.small import of_model

ABOVE_0, ABOVE_01 = Fair("val/l0", "code > 0"), Fair("val/l0", "code > 0.1")


@pytest.mark.parametrize(
    ("model", "measure"),
    [
        ("sparse_l1", ABOVE_0),
        ("topk", ABOVE_0),
        ("gated", ABOVE_0),
        # Inferred codes can be exactly 0 without an activation.
        ("sparse_coding", ABOVE_0),
        ("sparse_kl", Fair("val/mean_activity")),
        ("sparse_target", Fair("val/mean_activity")),
        ("vae", Fair("val/penalty_raw", "penalty=gaussian_kl")),
        ("topographic", Fair("val/penalty_raw", "penalty=group")),
        ("ae", None),
    ],
)
def test_each_model_has_its_measure_of_sparsity(model: str, measure: Fair | None) -> None:
    assert sparsity(of_model(model).parts, None) == measure


def test_dead_latents_are_counted_where_codes_can_be_off() -> None:
    assert dead(of_model("sparse_kl").parts, None) == Fair("val/dead_latents", "code > 0.1")
    assert dead(of_model("sparse_l1").parts, None) == Fair("val/dead_latents", "code > 0")
    assert dead(of_model("vae").parts, None) is None


def test_the_threshold_of_a_run_is_the_one_that_it_counted_above() -> None:
    assert sparsity(of_model("sparse_l1").parts, 0.1) == ABOVE_01
    assert conditions(of_model("sparse_kl").parts, 0.2) == {
        **dict.fromkeys(("l0", "dead_latents"), "code > 0.2"),
        "mean_activity": "target 0.1",
    }


@pytest.mark.parametrize("above", ["x", [1], {"a": 1}, None])
def test_options_of_a_stranger_may_be_anything(above: Any) -> None:
    parts = of_model("sparse_l1").parts
    parts = parts | {"activation": {"name": "relu", "active_above": above}}
    assert sparsity(parts, None) == ABOVE_0


def test_what_sets_the_sparsity() -> None:
    assert is_trade_off(["seed", "penalty.weight"])
    assert is_trade_off(["activation.k"])
    assert not is_trade_off(["seed", "model", "optimizer.learning_rate"])

"""Variants that trade sparsity for reconstruction, on the page of results."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from sae_cli.config.schema import RunConfig
from sae_cli.results.finished_run import FinishedRun
from sae_cli.results.gather import rows
from sae_cli.results.markdown import page
from sae_cli.results.trade_offs import trade_offs
from tests.conftest import Configure

SEEDS = 3


def finished(config: RunConfig, fvu: float | None, sparsity: float) -> FinishedRun:
    summary: dict[str, Any] = {
        **{"active_above": 0.0, "val/loss": 1.0, "val/fvu": fvu, "val/l0": sparsity},
        **{"val/mean_activity": sparsity, "val/penalty_raw": sparsity},
    }
    return FinishedRun(config.settings, config.parts, [], summary, "2026", "a machine")


def test_fronts_are_those_of_the_means_over_seeds(configure: Configure) -> None:
    weights = [0.01, 0.05, 0.1, 0.3, 1.0]
    values = np.random.default_rng(3).random((len(weights), SEEDS, 2))
    runs = [
        finished(configure("model=sparse_l1", f"penalty.weight={w}", f"seed={seed}"), *pair)
        for (w, own) in zip(weights, values.tolist(), strict=True)
        for seed, pair in enumerate(own)
    ]
    means = values.mean(1)
    beaten = [bool(((means <= one).all(1) & (means < one).any(1)).any()) for one in means]
    found = trade_offs(runs)
    assert len(found) == len(weights)
    for one in found:
        number = weights.index(one.group.variant["penalty.weight"])
        assert one.on_front != beaten[number]
        assert one.means == pytest.approx((means[number, 1], means[number, 0]), rel=1e-12)
    assert [one.on_front for one in found] == sorted((not b for b in beaten), reverse=True)
    text = page(rows(runs), runs, 0, "sae-report")
    assert "## Sparsity against reconstruction" in text
    sd = values[:, :, 1].std(1, ddof=1)
    assert all(f"{m:.4f} ± {s:.4f}" in text for m, s in zip(means[:, 1], sd, strict=True))


def test_models_are_compared_within_one_measure(configure: Configure) -> None:
    pairs = [*product(("sparse_l1", "sparse_kl"), (0.1, 0.3))]
    runs = [
        finished(configure(f"model={model}", f"penalty.weight={weight}"), 0.9, 60.0 * weight)
        for model, weight in pairs
    ]
    found = {(one.group.system.split()[0], one.on_front): one for one in trade_offs(runs)}
    assert set(found) == set(product(("sparse_l1", "sparse_kl"), (True, False)))
    text = page(rows(runs), runs, 0, "sae-report")
    assert r"`val/l0` (code \> 0) 6.0000" in text and "`val/mean_activity` 6.0000" in text
    assert "`val/mean_activity` (target 0.1)" in text


def test_what_trades_nothing_has_no_table(configure: Configure) -> None:
    runs = [finished(configure("model=ae", f"epochs={n}"), 0.5, 1.0) for n in (1, 2)]
    assert trade_offs(runs) == []
    assert "Sparsity against" not in page(rows(runs), runs, 0, "sae-report")


def test_a_variant_without_a_value_is_last_and_beats_nothing(configure: Configure) -> None:
    configs = [configure("model=sparse_l1", f"penalty.weight={w}") for w in (0.1, 0.3)]
    runs = [finished(configs[0], None, 0.0), finished(configs[1], 0.5, 4.0)]
    assert [one.on_front for one in trade_offs(runs)] == [True, False]

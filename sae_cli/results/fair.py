"""Which metrics of a run say something, and which of them may stand in one column.

The number of active codes of a ReLU and that of a sigmoid are counted above different thresholds,
and a model that is held to a mean activity is not sparse by counting at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

# The metric that a reconstruction is judged by, whatever the loss and the scale of the data.
QUALITY = "val/fvu"
# These options set how sparse the codes are.
SETS_SPARSITY = (
    *("penalty.weight", "penalty.target", "penalty.target_l0"),
    *("activation.k", "activation.threshold"),
)
# Codes of these activations are hardly ever exactly 0, so above 0 nothing can be counted.
NEVER_ZERO = (
    *("identity", "leaky_relu", "leaky_relu_keras", "elu", "selu", "gelu", "silu", "softplus"),
    *("tanh", "sigmoid", "gaussian"),
)


class Fair(NamedTuple):
    """A metric, and what has to be the same for two runs to be compared in it.

    Attributes:
        metric: a key of a summary, such as ``val/l0``.
        condition: such as ``code > 0.1``; empty where all runs can be compared.
    """

    metric: str
    condition: str = ""

    @property
    def label(self) -> str:
        """The header of its column."""
        return f"{self.metric} ({self.condition})" if self.condition else self.metric


def sparsity(parts: Mapping[str, Mapping[str, Any]], active_above: float | None) -> Fair | None:
    """Choose the metric that says how sparse a model's codes are, less is sparser; None without.

    Args:
        parts: group -> the chosen part's ``name`` and options.
        active_above: the magnitude above which its codes count as active, where that is known.
    """
    penalty = parts["penalty"]
    if penalty.get("target") is not None:
        return Fair("val/mean_activity")
    if (above := _threshold(parts, active_above)) is not None:
        return Fair("val/l0", f"code > {above:g}")
    # A prior, or pools, of codes that are never 0.
    return Fair("val/penalty_raw", f"penalty={penalty['name']}") if _is_penalised(parts) else None


def dead(parts: Mapping[str, Mapping[str, Any]], active_above: float | None) -> Fair | None:
    """Choose the metric that counts latents which no example activates; None without."""
    above = _threshold(parts, active_above)
    return None if above is None else Fair("val/dead_latents", f"code > {above:g}")


def codes_are_counted(parts: Mapping[str, Mapping[str, Any]], active_above: float | None) -> bool:
    """Tell whether the number of active codes, and that of dead latents, say something."""
    return _threshold(parts, active_above) is not None


def of_codes(parts: Mapping[str, Mapping[str, Any]], active_above: float | None) -> dict[str, str]:
    """Choose the metrics that say in an epoch's line how a model uses its codes.

    Returns:
        a name for each of them.
    """
    if codes_are_counted(parts, active_above):
        return {"val/l0": "l0", "val/dead_latents": "dead"}
    return {"val/penalty_raw": "kl"} if parts["penalty"]["name"] == "gaussian_kl" else {}


def conditions(
    parts: Mapping[str, Mapping[str, Any]], active_above: float | None
) -> dict[str, str]:
    """Say what has to stand beside metrics, by their names without a split."""
    target = parts["penalty"].get("target")
    above = _active_above(parts, active_above)
    found = dict.fromkeys(("l0", "dead_latents"), f"code > {above:g}")
    return found | ({} if target is None else {"mean_activity": f"target {target}"})


def is_trade_off(varied: Collection[str]) -> bool:
    """Tell whether runs that differ in these dotted options trade sparsity for quality."""
    return any(key in SETS_SPARSITY for key in varied)


def _threshold(parts: Mapping[str, Mapping[str, Any]], active_above: float | None) -> float | None:
    """Give the magnitude above which codes count as active; None where all codes would."""
    activation = parts["activation"]
    above = _active_above(parts, active_above)
    inferred = parts.get("inference", {"name": "none"})["name"] != "none"
    if above == 0.0 and activation["name"] in NEVER_ZERO and not inferred:
        return None
    return above


def _active_above(parts: Mapping[str, Mapping[str, Any]], known: float | None) -> float:
    above = parts["activation"].get("active_above", 0.0) if known is None else known
    # The options of a stranger's run may be anything.
    return float(above) if isinstance(above, int | float) else 0.0


def _is_penalised(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    return bool(parts["penalty"]["name"] != "none")

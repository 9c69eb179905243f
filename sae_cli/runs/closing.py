"""What a run ends with: every metric of its final weights, and their table."""

from __future__ import annotations

from collections.abc import Mapping

from sae_cli.core.text import table
from sae_cli.datasets import Split
from sae_cli.results.notes import undefined_notes
from sae_cli.runs.active_run import ActiveRun
from sae_cli.training.loop import evaluate
from sae_cli.training.metrics import BASELINE_BATCH, Baseline


def closing_metrics(run: ActiveRun) -> dict[str, float]:
    """Give every metric of the final weights on every split."""
    data = run.training.dataset
    # The last epoch has ended with an evaluation of these very weights.
    last = run.log.lines[-1]
    val = {key: value for key, value in last.items() if key.startswith("val/")}
    return _evaluate(run, "train", data.train) | val | _evaluate(run, "test", data.test)


def _evaluate(run: ActiveRun, name: str, split: Split) -> dict[str, float]:
    run.stop.check()
    model, objective = run.training.autoencoder, run.training.objective
    baseline = Baseline.of(split.batches(BASELINE_BATCH))
    values = evaluate(model, objective, split, baseline, run.training.device)
    return {f"{name}/{key}": value for key, value in values.items()}


def closing_table(
    final: Mapping[str, float], active_above: float, target: float | None
) -> list[str]:
    """Show train, validation and test beside each other, and a target beside its metric."""
    splits = ("train", "val", "test")
    names = [key.removeprefix("test/") for key in final if key.startswith("test/")]
    beside = {} if target is None else {"mean_activity": f" (target {target:g})"}
    rows = [
        [name + beside.get(name, ""), *(final[f"{split}/{name}"] for split in splits)]
        for name in names
    ]
    note = (
        "Metrics of the final weights; for l0 and dead_latents, a code is active when its "
        f"magnitude exceeds {active_above:g}."
    )
    return ["", *table(["metric", *splits], rows), note, *undefined_notes(final.items(), "-")]

"""What a run ends with: every metric of its final weights, and their table."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sae_cli.assembly.data import baseline_of
from sae_cli.core.text import ABSENT, duration, table
from sae_cli.datasets import Split
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.results.evaluation.latent_units import ACTIVE_VARIANCE, LatentUnits
from sae_cli.results.notes import undefined_notes
from sae_cli.runs.active_run import ActiveRun
from sae_cli.runs.calls import Call, call
from sae_cli.training.loop import EVALUATION_BATCH, evaluate

# One who waits for longer wants to know for how long.
LONG_SECONDS = 10.0


def closing_metrics(run: ActiveRun) -> dict[str, float]:
    """Give every metric of the final weights on every split."""
    data = run.training.dataset
    # The last epoch has ended with an evaluation of these very weights.
    last = run.log.lines[-1]
    val = {key: value for key, value in last.items() if key.startswith("val/")}
    seconds = run.progress.evaluating * (len(data.train) + len(data.test))
    if seconds > LONG_SECONDS:
        run.console.say(f"measuring train and test: about {duration(seconds)}")
    return _evaluate(run, "train", data.train) | val | _evaluate(run, "test", data.test)


def _evaluate(run: ActiveRun, name: str, split: Split) -> dict[str, float]:
    run.stop.check()
    model, objective = run.training.autoencoder, run.training.objective
    baseline = baseline_of(run.config, split)
    call(Call[name.upper()])
    values = evaluate(model, objective, split, baseline, run.training.device)
    return {f"{name}/{key}": value for key, value in values.items()}


def active_units(run: ActiveRun) -> int | None:
    """Count the latents of a variational model whose mean says something of a validation example.

    None for other models.
    """
    model = run.training.autoencoder
    if not model.activation.samples:
        return None
    units = LatentUnits(model.n_latents)
    with torch.inference_mode():
        for x in run.training.dataset.val.batches(EVALUATION_BATCH):
            run.stop.check()
            units.update(run.training.device.run(model, x).pre_codes)
    return int(units.result()["active_units"])


def closing_table(
    final: Mapping[str, float],
    model: AutoEncoder,
    target: float | None,
    n_active: int | None = None,
) -> list[str]:
    """Show train, validation and test beside each other, and a target beside its metric.

    How many codes are active is left out where every code of every example is, as that of a
    variational model: it says nothing there.

    Args:
        n_active: the latents that a variational model uses.
    """
    splits = ("train", "val", "test")
    names = [key.removeprefix("test/") for key in final if key.startswith("test/")]
    note = "Metrics of the final weights"
    if model.activation.active_above or any(final[f"{s}/l0"] < model.n_latents for s in splits):
        above = model.activation.active_above
        note += f"; for l0 and dead_latents, a code is active when its magnitude exceeds {above:g}"
    else:
        names = [name for name in names if name not in {"l0", "dead_latents"}]
    if n_active is not None:
        note += f"; {n_active} of {model.n_latents} latents are active units, whose mean varies"
        note += f" by more than {ACTIVE_VARIANCE:g} over the validation examples"
    beside = {} if target is None else {"mean_activity": f" (target {target:g})"}
    rows = [
        [name + beside.get(name, ""), *(final[f"{split}/{name}"] for split in splits)]
        for name in names
    ]
    undefined = undefined_notes(final.items(), ABSENT)
    return ["", *table(["metric", *splits], rows), f"{note}.", *undefined]

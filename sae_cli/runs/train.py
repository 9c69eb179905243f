"""One run: train what a configuration describes, and leave a complete run folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sae_cli.assembly.class_notes import class_notes
from sae_cli.assembly.closing_notes import closing_notes
from sae_cli.assembly.compute import describe
from sae_cli.assembly.look_notes import look_lines, look_notes
from sae_cli.assembly.parts import Parts, build_parts
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.assembly.ranges import range_notes
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import DivergedError, MovedError, Stopped
from sae_cli.core.shapes import REALS
from sae_cli.core.signals import Stop, stopping_in_time
from sae_cli.core.text import short, table
from sae_cli.datasets import Split
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.pictures import render
from sae_cli.results.notes import target_notes, undefined_notes
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import holds_sweep, resume_command
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.active_run import ActiveRun, Progress, activate
from sae_cli.runs.drawing import draw
from sae_cli.runs.reporting import report_run
from sae_cli.runs.saver import restore_run
from sae_cli.runs.stage import train_stage
from sae_cli.training.loop import evaluate
from sae_cli.training.metrics import BASELINE_BATCH, Baseline


def train(
    config: RunConfig,
    path: Path,
    overrides: list[str],
    parts: Parts | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Train, and return what ``summary.json`` holds.

    Nothing is written before the configuration and the data are known to be good.

    Args:
        config: the checked configuration.
        path: the run folder; free, or not there yet.
        overrides: what the command line changed.
        parts: of the configuration, where they have been built.
        threads: how many a long step takes; None for all that this process may use.

    Raises:
        ConfigError: the parts do not go together, the data are missing or unfit, or the folder
            holds a run.
        InUseError: another process is at work in the folder.
        DivergedError: the loss became infinite or NaN.
        Stopped: a signal asked to; the run can be resumed.
    """
    with stopping_in_time() as stop:
        progress = Progress()
        made = prepare(config, parts or build_parts(config), threads=threads)
        return begin(made, path, overrides, progress, stop)


def begin(
    made: Prepared, path: Path, overrides: list[str], progress: Progress, stop: Stop
) -> dict[str, Any]:
    """Begin a run in a free folder, and train it as ``train`` does."""
    stop.check()
    folder = RunFolder(path)
    with folder.claim():
        folder.write_overrides(overrides)
        folder.write_environment(made.about)
        # The configuration is written last because a folder that has one holds a run.
        folder.write_config(made.config.as_dict())
        return train_in(folder, made, progress, stop, None)


def train_in(
    folder: RunFolder, made: Prepared, progress: Progress, stop: Stop, resumed: TrainState | None
) -> dict[str, Any]:
    """Train in a folder that is this process's; return what ``summary.json`` holds.

    Args:
        resumed: the checkpoint to resume from, or None.
    """
    run = activate(made, folder, progress, stop, resumed)
    try:
        with bus_errors_raised(stop):
            summary = _train(run)
        summary |= {"seconds": round(progress.seconds, 3)}
        folder.write_summary(summary)
        # A run that is killed before it has finished writes its page when it is resumed.
        _report(run, "finished")
    except BaseException as error:
        run.console.end()
        # On a full disk, or in a folder that was moved, this fails too; the first error counts.
        with suppress(OSError, MemoryError, MovedError):
            _mark(run, error)
            if isinstance(error, DivergedError):
                _report(run, "failed")
        if isinstance(error, Stopped):
            saved_at = f"the last checkpoint is of step {progress.saved_step}"
            raise Stopped(
                error.number, f"{saved_at}; resume with: {resume_command(folder.path)}"
            ) from None
        raise
    folder.set_status("finished")
    run.console.say(f"run folder: {short(folder.path)}")
    return summary


def _report(run: ActiveRun, status: str) -> None:
    """Write the page of a run; the jobs of a sweep have that of the sweep."""
    if run.config.settings.report and not holds_sweep(run.folder.path.parent):
        report_run(run.folder.path, status, run.console.say)


def _mark(run: ActiveRun, error: BaseException) -> None:
    """Say in the folder how the run ended."""
    status = run.folder.end(error, saved_step=run.progress.saved_step)
    run.console.say(f"run folder: {short(run.folder.path)} ({status})")


def _train(run: ActiveRun) -> dict[str, Any]:
    """Train all stages, then evaluate, save the model and draw; give the summary."""
    _introduce(run)
    _train_stages(run)
    final = _closing_metrics(run)
    run.check_data()
    data = run.training.dataset
    tensors = run.training.network.saved.state_dict() | data.record.tensors
    run.folder.save_model(tensors, data.shape, data.record.as_dict())
    model = run.training.autoencoder
    shown = _closing_table(final, model.activation.active_above, run.config.target_activity)
    in_sweep = holds_sweep(run.folder.path.parent)
    shown += closing_notes(
        run.config, run.training, run.made.look, run.log.lines, final, in_sweep=in_sweep
    )
    for line in shown:
        run.console.say(line)
    for line in target_notes(run.config.parts["penalty"].get("target_l0"), final["val/l0"]):
        run.console.say(line)
    if run.config.settings.pictures:
        for picture in draw(run):
            run.folder.save_picture(picture.name, render(picture), picture.numbers)
            run.stop.check()
        run.check_data()
    return {
        "status": "finished",
        "best_epoch": run.progress.best_epoch,
        "n_latents": model.n_latents,
        "n_parameters": _n_parameters(run),
        "active_above": model.activation.active_above,
        **_tuned(run),
        **final,
    }


def _introduce(run: ActiveRun) -> None:
    """Say what is trained, on which data."""
    data, model = run.training.dataset, run.training.autoencoder
    sizes = f"{len(data.train)} train, {len(data.val)} val, {len(data.test)} test"
    run.console.say(f"data: {data.source}; {sizes}")
    run.console.say(
        f"model: {run.config.settings.model}, {data.shape.n_features} features, "
        f"{model.n_latents} latents, {_n_parameters(run)} parameters; device: "
        f"{run.training.device.torch}, {describe(run.config)}"
    )
    notes = range_notes(run.config, data)
    if run.made.look is not None:
        any_values = model.output_activation.interval == REALS
        found = look_notes(run.config, run.made.look, any_values=any_values, ranged=bool(notes))
        notes = [*look_lines(run.made.look), *notes, *found]
    if run.training.network.head is not None:
        notes += class_notes(run.config.parts["dataset"], data)
    for line in notes:
        run.console.say(line)


def _tuned(run: ActiveRun) -> dict[str, float]:
    """Give the weight that the penalty has come to, where training has tuned it."""
    found = [line for line in run.log.lines if "train/penalty_weight" in line]
    return {"penalty_weight": found[-1]["train/penalty_weight"]} if found else {}


def _n_parameters(run: ActiveRun) -> int:
    return sum(p.numel() for p in run.training.autoencoder.parameters() if p.requires_grad)


def _train_stages(run: ActiveRun) -> None:
    """Train the stages, from the one that the run resumes in."""
    stages, resumed = run.training.stages, run.resumed
    if resumed is not None:
        restore_run(run, resumed)
        run.folder.write_metrics(run.log.text)
        run.console.say(f"resumed at step {run.progress.step} (epoch {run.progress.epoch})")
        (first,) = [i for i, stage in enumerate(stages) if stage.name == resumed.stage]
        stages = stages[first:]
    for stage in stages:
        run.stop.check()
        train_stage(run, stage)


def _closing_metrics(run: ActiveRun) -> dict[str, float]:
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


def _closing_table(
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

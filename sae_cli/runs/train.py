"""One run: train what a configuration describes, and leave a complete run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sae_cli.assembly.class_notes import class_notes
from sae_cli.assembly.closing_notes import closing_notes
from sae_cli.assembly.compute import describe
from sae_cli.assembly.look_notes import look_lines, look_notes
from sae_cli.assembly.parts import Parts, build_parts
from sae_cli.assembly.plugins import used_plugins
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.assembly.ranges import range_notes
from sae_cli.assembly.revival_notes import revival_notes
from sae_cli.config.schema import RunConfig
from sae_cli.core.company import crowded
from sae_cli.core.errors import DivergedError, MovedError, Stopped
from sae_cli.core.shapes import REALS
from sae_cli.core.signals import Stop, stopping_in_time
from sae_cli.core.text import short
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.model.held import n_parameters
from sae_cli.pictures import render
from sae_cli.results.drawing import draw
from sae_cli.results.notes import target_notes
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import holds_sweep, plugin_copy, resume_command, status_of_end
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.active_run import ActiveRun, Progress, Watch, activate, watch_nothing
from sae_cli.runs.calls import Call, call
from sae_cli.runs.closing import active_units, closing_metrics, closing_table
from sae_cli.runs.leading import leading, under_torchrun
from sae_cli.runs.reporting import report_run
from sae_cli.runs.saver import restore_run
from sae_cli.runs.slices import whole_model
from sae_cli.runs.stage import train_stage


def train(
    config: RunConfig,
    path: Path,
    overrides: list[str],
    parts: Parts | None = None,
    threads: int | None = None,
    watch: Watch = watch_nothing,
) -> dict[str, Any]:
    """Train, and return what ``summary.json`` holds.

    Nothing is written before the configuration and the data are known to be good.

    Args:
        config: the checked configuration.
        path: the run folder; free, or not there yet.
        overrides: what the command line changed.
        parts: of the configuration, where they have been built.
        threads: how many a long step takes; None for all that this process may use.
        watch: as an ``ActiveRun`` has it.

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
        return begin(made, path, overrides, progress, stop, watch)


def begin(
    made: Prepared,
    path: Path,
    overrides: list[str],
    progress: Progress,
    stop: Stop,
    watch: Watch = watch_nothing,
) -> dict[str, Any]:
    """Begin a run in a free folder, and train it as ``train`` does."""
    stop.check()
    folder = RunFolder(path)
    with leading(made, None), folder.claim():
        folder.write_overrides(overrides)
        folder.write_environment(made.about)
        # The configuration is written last because a folder that has one holds a run.
        folder.write_config(made.config.as_dict())
        loggers = made.config.settings.logger
        return train_in(folder, made, progress, stop, None, loggers, watch)


def train_in(
    folder: RunFolder,
    made: Prepared,
    progress: Progress,
    stop: Stop,
    resumed: TrainState | None,
    loggers: Mapping[str, Mapping[str, Any]],
    watch: Watch = watch_nothing,
) -> dict[str, Any]:
    """Train in a folder that is this process's; return what ``summary.json`` holds.

    Args:
        resumed: the checkpoint to resume from, or None.
        loggers: name -> options of the trackers to tell.
        watch: as an ``ActiveRun`` has it.
    """
    for plugin in used_plugins(made.config):
        if plugin.content is not None:
            folder.save_code(plugin_copy(plugin.name, plugin.sha256), plugin.content)
    run = activate(made, folder, progress, stop, resumed, loggers, watch)
    try:
        with bus_errors_raised(stop), crowded():
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
        run.tracking.end(status_of_end(error), lambda: False)
        if isinstance(error, Stopped):
            saved_at = f"the last checkpoint is of step {progress.saved_step}"
            how = f"{resume_command(folder.path)}{under_torchrun()}"
            raise Stopped(error.number, f"{saved_at}; resume with: {how}") from None
        raise
    folder.set_status("finished")
    run.tracking.end("finished", lambda: stop.number is not None)
    run.console.conclude(f"run folder: {short(folder.path)}")
    return summary


def _report(run: ActiveRun, status: str) -> None:
    """Write the page of a run; the jobs of a sweep have that of the sweep."""
    if run.config.settings.report and not holds_sweep(run.folder.path.parent):
        report_run(run.folder.path, status, run.console.warn)


def _mark(run: ActiveRun, error: BaseException) -> None:
    """Say in the folder how the run ended."""
    status = run.folder.end(error, saved_step=run.progress.saved_step)
    run.console.conclude(f"run folder: {short(run.folder.path)} ({status})")


def _train(run: ActiveRun) -> dict[str, Any]:
    """Train all stages, then evaluate, save the model and draw; give the summary."""
    _introduce(run)
    _train_stages(run)
    final = closing_metrics(run)
    run.check_data()
    data = run.training.dataset
    model = run.training.autoencoder
    call(Call.MODEL)
    tensors = whole_model(model, run.training.network.saved.state_dict()) | data.record.tensors
    call(Call.GO_ON)
    run.folder.save_model(tensors, data.shape, data.record.as_dict())
    shown = closing_table(final, model, run.config.target_activity, active_units(run))
    path = run.folder.path
    resume = None if holds_sweep(path.parent) else resume_command(path)
    shown += closing_notes(run.config, run.training, run.made.look, run.log.lines, final, resume)
    target = run.config.parts["penalty"].get("target_l0")
    shown += target_notes(target, final["train/l0"], final["val/l0"])
    run.console.say(*shown)
    if run.config.settings.pictures and model.n_held < model.n_latents:
        run.console.say(
            "pictures: none, because they are drawn of a whole dictionary, and each process holds "
            "some of its latents; load_run(FOLDER).plot(NAME) draws one"
        )
    elif run.config.settings.pictures:
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
    lines = [
        f"data: {data.source}; {sizes}",
        f"model: {run.config.settings.model}, {data.shape.n_features} features, "
        f"{model.n_latents} latents, {_n_parameters(run)} parameters; device: "
        f"{run.training.device.torch}, {describe(run.config)}",
    ]
    notes = range_notes(run.config, data)
    if run.made.look is not None:
        any_values = model.output_activation.interval == REALS
        found = look_notes(run.config, run.made.look, any_values=any_values, ranged=bool(notes))
        notes = [*look_lines(run.made.look), *notes, *found]
    if run.training.network.head is not None:
        notes += class_notes(run.config.parts["dataset"], data)
    run.console.say(*lines, *notes, *revival_notes(run.training))


def _tuned(run: ActiveRun) -> dict[str, float]:
    """Give the weight that the penalty has come to, where training has tuned it."""
    found = [line for line in run.log.lines if "train/penalty_weight" in line]
    return {"penalty_weight": found[-1]["train/penalty_weight"]} if found else {}


def _n_parameters(run: ActiveRun) -> int:
    return n_parameters(run.training.autoencoder)


def _train_stages(run: ActiveRun) -> None:
    """Train the stages, from the one that the run resumes in."""
    stages, resumed = run.training.stages, run.resumed
    if resumed is not None:
        restore_run(run, resumed)
        run.folder.write_metrics(run.log.text)
        run.console.say(f"resumed at step {run.progress.step} (epoch {run.progress.epoch})")
        (first,) = [i for i, stage in enumerate(stages) if stage.name == resumed.stage]
        stages = stages[first:]
    run.tracking.begin(run.progress.step, run.log.lines)
    split, started = run.training.dataset.train, time.monotonic()
    waited = split.wait.seconds
    for stage in stages:
        run.stop.check()
        train_stage(run, stage)
    if split.streamed_to is not None:
        share = (split.wait.seconds - waited) / max(time.monotonic() - started, 1e-9)
        run.console.say(f"data: streamed; {share:.0%} of the training was waiting for them")

"""Resuming: a run continues from its folder to the same bits as if it had never been stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sae_cli.assembly.data import locate
from sae_cli.assembly.environment import changes_of_environment
from sae_cli.assembly.parts import Parts, build_parts
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.config.schema import RunConfig
from sae_cli.config.settings import FREE, LOGGER, RESUMABLE, stands_in
from sae_cli.core.differences import alike, diff
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.core.signals import stopping_in_time
from sae_cli.core.text import say, short
from sae_cli.results.finished import has_finished
from sae_cli.results.needed_plugins import needed_by_run, refuse_changed
from sae_cli.results.saved_config import check_saved, read_config, with_axes_of
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import (
    CONFIG,
    ENVIRONMENT,
    SUMMARY,
    holds_run,
    holds_sweep,
    refuse_runs_within,
    resume_command,
)
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.active_run import Progress, Watch, watch_nothing
from sae_cli.runs.leading import leading
from sae_cli.runs.length import check_length
from sae_cli.runs.tracking import Loggers, without_outside
from sae_cli.runs.train import train, train_in


def begin_or_resume(
    config: RunConfig,
    path: Path,
    overrides: list[str],
    parts: Parts | None = None,
    threads: int | None = None,
    watch: Watch = watch_nothing,
) -> dict[str, Any]:
    """Train as ``train`` does, or ``resume`` where the folder holds this very run already.

    Raises:
        ConfigError: it holds a run with other settings, or something else.
    """
    if not holds_run(path):
        return train(config, path, overrides, parts, threads, watch)
    changes = _free_changes(read_config(path / CONFIG), config, path)
    return resume(path, changes, trusted=True, watch=watch)


def resume(
    path: Path,
    changes: Mapping[str, Any],
    *,
    trusted: bool = False,
    watch: Watch = watch_nothing,
) -> dict[str, Any]:
    """Resume a run, or only say so if it has finished; return what ``summary.json`` holds.

    Args:
        path: the run folder.
        changes: dotted keys of the configuration and their new values: ``epochs``, to train
            longer, and settings that change no number.
        trusted: whether the command line asks for the trackers that the folder names.
        watch: as an ``ActiveRun`` has it.

    Raises:
        ConfigError: the folder holds no run, its data have changed, or a change is not allowed.
        CheckpointError: there are checkpoints, but none can be used.
        InUseError: another process is at work in the folder.
        DivergedError, Stopped: as ``train``.
    """
    for key in changes:
        if not stands_in(key, RESUMABLE):
            raise ConfigError(
                f"{key}: a run is resumed with its own settings; with resume= only "
                f"{', '.join(RESUMABLE)} can be given"
            )
    refuse_runs_within(path)
    refuse_changed(needed_by_run(path))
    # A finished run is only read, because it may lie where nothing can be written.
    if (summary := _nothing_to_do(path, changes)) is not None:
        return summary
    folder = RunFolder(path)
    with ExitStack() as stack:
        stop = stack.enter_context(stopping_in_time())
        stack.enter_context(folder.reopen())
        # Another process may have finished it in the meantime.
        if (summary := _nothing_to_do(path, changes)) is not None:
            return summary
        recorded = read_config(path / CONFIG)
        config = recorded.changed(changes)
        _check_job(path, recorded, config)
        progress = Progress()
        saved = folder.checkpoints.load(say)
        if saved is not None:
            _check_config(recorded, saved)
        # Only the command line may ask for a download, because a folder may come from anyone.
        download = "dataset.download" in changes
        made = prepare(config, build_parts(config), download=download, is_new=False)
        if saved is not None:
            _check_data(made, saved)
            check_length(made, saved)
        stop.check()
        # Where processes hold some of the latents each, the whole is kept by none.
        saved = stack.enter_context(leading(made, saved))
        folder.clean()
        _record(folder, made, recorded, saved)
        loggers: Loggers = config.settings.logger
        if not trusted and not any(stands_in(key, (LOGGER,)) for key in changes):
            loggers = without_outside(loggers, say)
        return train_in(folder, made, progress, stop, saved, loggers, watch)


def _nothing_to_do(path: Path, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say that a run has finished and give its summary; None if it has not, or is to be longer."""
    if not holds_run(path):
        return None
    recorded = read_config(path / CONFIG)
    longer = recorded.changed(changes).settings.epochs != recorded.settings.epochs
    if longer or not has_finished(path):
        return None
    say(f"{short(path)} has finished; nothing to do (epochs=MORE would train on)")
    return read_json(path / SUMMARY)


def _check_job(path: Path, recorded: RunConfig, config: RunConfig) -> None:
    """Raise ConfigError if a sweep's job is to get another length than the other jobs."""
    if config.settings.epochs != recorded.settings.epochs and holds_sweep(path.parent):
        raise ConfigError(
            f"epochs={config.settings.epochs}: {short(path)} is a job of the sweep in "
            f"{short(path.parent)}, whose results.csv compares runs of the same length; copy the "
            "folder elsewhere, and resume the copy"
        )


def _free_changes(recorded: RunConfig, given: RunConfig, path: Path) -> dict[str, Any]:
    """Give the settings that differ from the recorded ones and change no number.

    Raises:
        ConfigError: another setting differs.
    """
    # Earlier versions kept the file of labels as it was given.
    then, now = locate(recorded).as_dict(), locate(with_axes_of(recorded, given)).as_dict()
    # Settings that are left open again were decided when the run began.
    if now["compile"] == "auto":
        now["compile"] = then["compile"]
    left_open = {"threads": None, "name": "auto"}
    decided = {k: then["device"][k] for k, left in left_open.items() if now["device"][k] == left}
    now["device"] = now["device"] | decided
    trackers = {} if then[LOGGER] == now[LOGGER] else {LOGGER: now[LOGGER]}
    found = list(diff(then | {LOGGER: {}}, now | {LOGGER: {}}))
    wrong = [str(difference) for difference in found if not stands_in(difference.key, FREE)]
    if wrong:
        raise ConfigError(
            f"{short(path)} holds a run with other settings ({'; '.join(wrong)}); choose another "
            f"folder, or resume that run: {resume_command(path)}"
        )
    return {difference.key: difference.now for difference in found} | trackers


def _check_config(recorded: RunConfig, saved: TrainState) -> None:
    try:
        then = check_saved(saved.config)
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint's configuration is not right: {error}") from None
    found = diff(locate(then).as_dict(), locate(recorded).as_dict())
    changed = [str(one) for one in found if not stands_in(one.key, RESUMABLE)]
    if changed:
        raise CheckpointError(
            f"the checkpoint is of a run with other settings than {CONFIG} has now "
            f"({'; '.join(changed)}); put {CONFIG} back as it was, or begin a new run"
        )


def _check_data(made: Prepared, saved: TrainState) -> None:
    if made.fingerprint != saved.data:
        raise ConfigError(
            f"the data are not those that the run began with ({made.training.dataset.source}; "
            f"SHA-256 {saved.data[:12]} then, {made.fingerprint[:12]} now); put them back, or "
            "begin a new run"
        )


def _record(
    folder: RunFolder, made: Prepared, recorded: RunConfig, saved: TrainState | None
) -> None:
    """Record in the folder that the run resumes, and what has changed since it began.

    The status comes first: a finished run that is to train on has not finished from here on,
    whenever it is killed.
    """
    folder.set_status("running")
    if saved is None:
        # A run that was stopped before its first checkpoint begins anew.
        folder.write_metrics("")
        folder.write_environment(made.about)
    else:
        try:
            about = read_json(folder.path / ENVIRONMENT)
        except ConfigError as error:
            say(f"{error}; it is written anew, without what has changed since the run began")
            about = made.about
        differences = [*changes_of_environment(about, made.about)]
        found = [str(one) for one in differences]
        for line in alike(differences):
            say(f"changed since the run began: {line}; the last bits may differ")
        resumption = {"started": made.about["started"], "step": saved.step, "differs": found}
        before = about.get("resumed")
        resumed = [*(before if isinstance(before, list) else []), resumption]
        folder.write_environment(about | {"resumed": resumed})
    if made.config != recorded:
        folder.write_config(made.config.as_dict())

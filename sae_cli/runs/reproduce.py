"""Reproduction: train a run again from its folder alone, and compare the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sae_cli.assembly.environment import changes_of_environment
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.config.schema import RunConfig
from sae_cli.config.settings import LOGGER, RESUMABLE, stands_in
from sae_cli.core.differences import ABSENT, diff
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.core.signals import stopping_in_time
from sae_cli.core.text import say, short
from sae_cli.results.compare import Results, compare_metrics, compare_tensors, read_results, report
from sae_cli.results.needed_plugins import needed_by_run, refuse_changed
from sae_cli.results.saved_config import check_saved, read_config
from sae_cli.run_folder.checkpoints import Checkpoints
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import (
    CONFIG,
    ENVIRONMENT,
    holds_run,
    refuse_runs_within,
    resume_command,
    status_of,
)
from sae_cli.runs.active_run import Progress
from sae_cli.runs.train import begin

# These settings may be given anew: the data may have moved, and pictures are not compared.
CHANGEABLE = (
    *("dataset.path", "dataset.root", "dataset.download", "pictures", "progress"),
    *("log_every", "log_steps", "quiet"),
)


def reproduce(
    path: Path, into: Path, changes: Mapping[str, Any], *, changed_data: bool = False
) -> bool:
    """Train a finished run again in a new folder, and compare.

    Args:
        path: its folder.
        into: the new one.
        changes: dotted keys among ``CHANGEABLE`` and their values.
        changed_data: train although the data are not those of the run.

    Returns:
        whether every metric and every weight is the same to the bit.

    Raises:
        ConfigError: the run has not finished or its folder is damaged; the data are missing or not
            those of the run.
        DivergedError, Stopped: as ``train``.
    """
    with stopping_in_time() as stop:
        progress = Progress()
        config, then, before = look(path, changes)
        RunFolder(into).check_free()
        made = _prepare_again(config, changes)
        found = _differences(path, then, made)
        for line in found:
            say(f"changed since: {line}")
        _check_data(made, then, changed_data)
        begin(made, into, [], progress, stop)
    after = read_results(into)
    metrics, tensors = compare_metrics(before, after), compare_tensors(before, after)
    say()
    for line in (*report("metrics", metrics), *report("tensors", tensors)):
        say(line)
    identical = all(one.same for one in (*metrics, *tensors))
    verdict = "identical" if identical else "different"
    say(f"{verdict}: {short(path)} and {short(into)}")
    if not identical:
        say(f"changed since: {'; '.join(found) or 'nothing that is recorded'}")
    return identical


def check_environment(path: Path, changes: Mapping[str, Any]) -> bool:
    """Print the environment of a run and what has changed since; tell whether nothing has.

    Raises:
        ConfigError: the folder is damaged, or the data are missing.
    """
    config, then, _ = look(path, changes)
    made = _prepare_again(config, changes)
    for line in describe(then):
        say(line)
    found = _differences(path, then, made)
    say()
    for line in found:
        say(f"changed since: {line}")
    say(f"{len(found)} changed" if found else "nothing that is recorded has changed")
    return not found


def describe(record: Mapping[str, Any]) -> list[str]:
    """Give a line for each key of a recorded environment; for a patch, its length."""
    return [
        f"{key}: {value if key != 'code.patch' else f'{len(str(value).splitlines())} lines'}"
        for key, value in _flat(record)
    ]


def look(path: Path, changes: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any], Results]:
    """Read all of a finished run's folder that a reproduction needs, before anything is trained.

    Returns:
        its configuration with the changes, the record of its environment, and its results.

    Raises:
        ConfigError: the run has not finished, or its folder is damaged.
    """
    if not holds_run(path) or status_of(path) != "finished":
        refuse_runs_within(path)
        finish = f"; finish it: {resume_command(path)}" if holds_run(path) else ""
        raise ConfigError(f"{short(path)} holds no finished run{finish}")
    for key in changes:
        if key not in CHANGEABLE:
            raise ConfigError(
                f"{key}: a run is reproduced with its own settings; only {', '.join(CHANGEABLE)} "
                "can be given"
            )
    refuse_changed(needed_by_run(path))
    # A reproduction is a check, which no tracker shows as another run.
    config = read_config(path / CONFIG).changed({**changes, LOGGER: "none"})
    return config, read_json(path / ENVIRONMENT), read_results(path)


def _prepare_again(config: RunConfig, changes: Mapping[str, Any]) -> Prepared:
    return prepare(
        config, build_parts(config), download="dataset.download" in changes, is_new=False
    )


def _differences(path: Path, then: Mapping[str, Any], made: Prepared) -> list[str]:
    """List what has changed in the configuration, code, packages, machine and data."""
    found = [str(one) for one in changes_of_environment(then, made.about)]
    return [*(f"{CONFIG}: {line}" for line in _edits(path, made.config)), *found]


def _edits(path: Path, config: RunConfig) -> list[str]:
    """List what was edited in ``config.yaml`` since the last checkpoint, which holds what ran."""
    try:
        saved = Checkpoints(path / "checkpoints").last()
        ran = check_saved(saved.config).as_dict()
    except (CheckpointError, ConfigError) as error:
        return [f"the configuration that ran is not known ({error})"]
    free = set(RESUMABLE) - {"epochs"}
    return [str(one) for one in diff(ran, config.as_dict()) if not stands_in(one.key, free)]


def _check_data(made: Prepared, then: Mapping[str, Any], changed_data: bool) -> None:
    about = then.get("dataset")
    recorded = about.get("fingerprint", ABSENT) if isinstance(about, Mapping) else ABSENT
    if made.fingerprint != recorded and not changed_data:
        raise ConfigError(
            f"the data are not those of the run ({made.training.dataset.source}; SHA-256 "
            f"{str(recorded)[:12]} then, {made.fingerprint[:12]} now); put them back, or give "
            "--changed-data to train on these"
        )


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the dotted keys and the values of a record of two levels."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value

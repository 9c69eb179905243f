"""Trains a run again from nothing but its folder, and says whether the result is the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sae_cli.assembly.environment import changes_of_environment
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import Prepared, prepare
from sae_cli.config.schema import RESUMABLE, RunConfig, check
from sae_cli.core.differences import ABSENT, diff
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.core.signals import stopping_in_time
from sae_cli.core.text import short
from sae_cli.results.compare import compare_metrics, compare_tensors, report
from sae_cli.results.saved_config import read_config
from sae_cli.run_folder.checkpoints import Checkpoints
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import CONFIG, ENVIRONMENT, holds_run, resume_command, status_of
from sae_cli.runs.active_run import Progress
from sae_cli.runs.train import begin

# What may be given anew: the data may lie elsewhere by now, and nothing has to be drawn.
CHANGEABLE = ("dataset.path", "dataset.root", "dataset.download", "pictures", "progress")


def reproduce(
    path: Path, into: Path, changes: Mapping[str, Any], *, changed_data: bool = False
) -> bool:
    """Train a finished run again in a new folder, and compare.

    Args:
        path: its folder.
        into: the new one.
        changes: dotted keys among ``CHANGEABLE`` and their values.
        changed_data: go on although the data are not those of the run.

    Returns:
        whether every metric and every weight is the same to the bit.

    Raises:
        ConfigError: the run has not finished or its folder is damaged; the data are missing or not
            those of the run.
        DivergedError, Stopped: as ``train``.
    """
    with stopping_in_time() as stop:
        progress = Progress()
        made, then = _prepare_again(path, changes)
        found = _differences(path, then, made)
        for line in found:
            print(f"not as then: {line}")
        _check_data(made, then, changed_data)
        begin(made, into, [], progress, stop)
    metrics, tensors = compare_metrics(path, into), compare_tensors(path, into)
    print()
    for line in (*report("metrics", metrics), *report("tensors", tensors)):
        print(line)
    identical = all(one.same for one in (*metrics, *tensors))
    verdict = "identical" if identical else "different"
    print(f"{verdict}: {short(path)} and {short(into)}")
    if not identical:
        print(f"what is not as then: {'; '.join(found) or 'nothing that is recorded'}")
    return identical


def check_environment(path: Path, changes: Mapping[str, Any]) -> bool:
    """Show what a run depended on, and what it would depend on now; whether that is the same.

    Raises:
        ConfigError: the folder is damaged, or the data are missing.
    """
    made, then = _prepare_again(path, changes)
    for line in described(then):
        print(line)
    found = _differences(path, then, made)
    print()
    for line in found:
        print(f"not as then: {line}")
    print(f"{len(found)} not as then" if found else "all that is recorded is as then")
    return not found


def described(record: Mapping[str, Any]) -> list[str]:
    """A line for each key of what a run depended on; of a patch its length."""
    return [
        f"{key}: {value if key != 'code.patch' else f'{len(str(value).splitlines())} lines'}"
        for key, value in _flat(record)
    ]


def _prepare_again(path: Path, changes: Mapping[str, Any]) -> tuple[Prepared, dict[str, Any]]:
    """What would run now, and the record of what ran then."""
    if not holds_run(path) or status_of(path) != "finished":
        finish = f"; finish it: {resume_command(path)}" if holds_run(path) else ""
        raise ConfigError(f"{short(path)} holds no finished run{finish}")
    for key in changes:
        if key not in CHANGEABLE:
            raise ConfigError(
                f"{key}: a run is reproduced with its own settings; only {', '.join(CHANGEABLE)} "
                "can be given"
            )
    config = read_config(path / CONFIG).changed(changes)
    made = prepare(config, build_parts(config), download="dataset.download" in changes)
    return made, read_json(path / ENVIRONMENT)


def _differences(path: Path, then: Mapping[str, Any], made: Prepared) -> list[str]:
    """What is not as it was: of code, packages, machine and data, and of the configuration."""
    found = [str(one) for one in changes_of_environment(then, made.about)]
    return [*(f"{CONFIG}: {line}" for line in _edited(path, made.config)), *found]


def _edited(path: Path, config: RunConfig) -> list[str]:
    """What ``config.yaml`` says otherwise than the last checkpoint, which has it as it ran."""
    try:
        saved = Checkpoints(path / "checkpoints").last()
        ran = check(saved.config).as_dict()
    except (CheckpointError, ConfigError) as error:
        return [f"what ran cannot be told ({error})"]
    free = set(RESUMABLE) - {"epochs"}
    return [str(one) for one in diff(ran, config.as_dict()) if one.key not in free]


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
    """Dotted keys and values of a record of two levels."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value

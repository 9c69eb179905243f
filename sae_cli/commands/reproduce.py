"""The command ``sae-reproduce``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sae_cli.commands.arguments import changes
from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.limits import check_limits
from sae_cli.commands.parser import Parser
from sae_cli.commands.plugins import load_plugins
from sae_cli.commands.ranks import refuse_sweep, run_in_ranks
from sae_cli.config.folder_names import unique_stamp
from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path
from sae_cli.core.text import say, short
from sae_cli.run_folder.layout import holds_sweep, status_of

DIFFERENT = 1


def run(arguments: Sequence[str]) -> int:
    """Run a command line: 0 identical, 1 different, 2 could not run; the other codes as
    ``sae-train`` has them.

    Raises:
        Stopped: by a signal.
    """

    def begin() -> int:
        return run_in_ranks(lambda: _run(arguments), lambda: _load(_parser().take_apart(arguments)))

    return run_guarded(begin, show_traceback="--traceback" in arguments)


def _run(arguments: Sequence[str]) -> int:
    given = _parser().take_apart(arguments)
    folder = full_path(given.folder)
    if not folder.is_dir():
        raise ConfigError(f"{given.folder}: no such folder; give that of a run, or of a sweep")
    if holds_sweep(folder):
        refuse_sweep(given.folder)
    for override in given.changes:
        if "=" not in override:
            raise ConfigError(f"{override!r} is not a setting; write key=value without spaces")
    found = changes(given.changes)
    _load(given)
    into = full_path(given.into or f"outputs/{unique_stamp()}_reproduced_{folder.name}")
    if not holds_sweep(folder):
        return DONE if _one(given, folder, into, found) else DIFFERENT
    return DONE if _all_jobs(given, folder, into, found) else DIFFERENT


def _load(given: argparse.Namespace) -> None:
    load_plugins(given.plugin, any_version=given.changed_plugin)


def _parser() -> Parser:
    parser = Parser(
        "sae-reproduce",
        "Train a run again from nothing but its folder, into a new one, and say metric "
        "by metric and tensor by tensor whether the result is the same to the bit. Exit code 0: "
        "identical, 1: different, 2: could not run.",
        examples={
            "sae-reproduce outputs/RUN": "train it again, and compare",
            "sae-reproduce outputs/RUN --check": "what has changed since",
            "sae-reproduce outputs/RUN dataset.path=x.npy": "its data are elsewhere now",
        },
        plugins=True,
    )
    parser.add_argument("folder", help="of a finished run, or of a sweep: then each of its jobs")
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="where the data lie now: dataset.path=, dataset.root=, dataset.download=; or "
        "pictures=, progress=, log_every=, log_steps=, quiet=",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="train nothing: show what the run depended on, and what of it is different now",
    )
    parser.add_argument("--into", metavar="FOLDER", help="the new folder")
    parser.add_argument(
        "--changed-data",
        action="store_true",
        help="go on although the data are not those of the run",
    )
    parser.add_argument(
        "--changed-plugin",
        action="store_true",
        help="go on although the code of a plug-in is not that of the run",
    )
    return parser


def _one(given: argparse.Namespace, folder: Path, into: Path, found: dict[str, Any]) -> bool:
    check_limits()
    # Here, because torch takes its time, and a typo should not wait for it.
    from sae_cli.runs.reproduce import check_environment, reproduce

    if given.check:
        return check_environment(folder, found)
    return reproduce(folder, into, found, changed_data=given.changed_data)


def _all_jobs(given: argparse.Namespace, sweep: Path, into: Path, found: dict[str, Any]) -> bool:
    """Every finished job of a sweep."""
    from sae_cli.runs.sweeps.sweep import read_sweep

    jobs = read_sweep(sweep).jobs
    finished = [job.folder for job in jobs if status_of(sweep / job.folder) == "finished"]
    if not finished:
        raise ConfigError(f"{short(sweep)}: none of its {len(jobs)} jobs has finished")
    from sae_cli.run_folder.folder import RunFolder
    from sae_cli.runs.reproduce import look

    for name in finished:
        look(sweep / name, found)
        if not given.check:
            RunFolder(into / name).check_free()
    same = []
    for name in finished:
        say()
        say(f"job {name} ({len(finished)} in all)")
        same.append(_one(given, sweep / name, into / name, found))
    say()
    say(f"{sum(same)} of {len(finished)} jobs as they were")
    return all(same)

"""The command ``sae-train``, from its arguments to its exit code.

Every configuration is composed and checked before a run begins, so that wrong input leaves no
folder behind. Hydra and torch are imported only where they are needed: both take their time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_cli.commands.arguments import Arguments, changes, parse
from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.limits import check_limits
from sae_cli.commands.plugins import load_plugins
from sae_cli.commands.ranks import refuse_sweep, run_in_ranks
from sae_cli.core.errors import ConfigError
from sae_cli.core.garbage import not_collecting
from sae_cli.core.paths import full_path
from sae_cli.core.text import counted, say, short
from sae_cli.run_folder.layout import holds_run, holds_sweep, is_free, is_quiet_sweep

if TYPE_CHECKING:
    from sae_cli.assembly.parts import Parts
    from sae_cli.config.asked import Asked
    from sae_cli.config.composed import Composed
    from sae_cli.config.hydra_settings import HydraWords
    from sae_cli.config.schema import RunConfig

SWEEP_FAILED = 1
MANY_JOBS = 30
# The choices that name a run.
SHOWN = ("dataset", "model")
# Before anything is composed, only the command line can say so.
QUIET = "quiet=true"


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code, one of those that docs/runs.md lists.

    Raises:
        Stopped: by a signal.
    """

    def begin() -> int:
        return run_in_ranks(lambda: _run(parse(arguments)), lambda: _load(parse(arguments)))

    return run_guarded(begin, show_traceback="--traceback" in arguments)


def _load(arguments: Arguments) -> None:
    load_plugins(arguments.plugins, any_version=arguments.changed_plugin)


def _run(arguments: Arguments) -> int:
    if arguments.shows == "version":
        from sae_cli.commands.version import version_line

        say(version_line("sae-train"))
        return DONE
    if arguments.shows is not None:
        load_plugins(arguments.plugins)
    if arguments.shows == "help":
        from sae_cli.commands.help import print_help

        print_help(arguments.overrides, arguments.pages)
        return DONE
    if arguments.shows is not None:
        from sae_cli.commands.show import show

        show(arguments)
        return DONE
    _begin(arguments)
    check_limits()
    _load(arguments)
    if arguments.multirun:
        refuse_sweep("-m")
    if arguments.resume is not None:
        return _resume(arguments, full_path(arguments.resume))
    with not_collecting():
        from sae_cli.config.asked import read

        asked = read(
            arguments.overrides,
            multirun=arguments.multirun,
            pages=arguments.pages,
            announce=_announce
            if arguments.multirun and QUIET not in arguments.overrides
            else lambda n_jobs: None,
        )
    folder = _folder(asked.hydra, asked.runs[0], arguments.multirun)
    if arguments.multirun:
        return SWEEP_FAILED if _sweep(asked, folder, arguments) else DONE
    _train(asked.runs[0], folder)
    return DONE


def _begin(arguments: Arguments) -> None:
    """Say at once what is begun, to a person: the imports alone take a second."""
    if not sys.stdout.isatty() or QUIET in arguments.overrides:
        return
    if arguments.resume is not None:
        what = f"to resume {arguments.resume}"
    else:
        what = "a sweep" if arguments.multirun else "a run"
    with suppress(OSError):
        say(f"preparing {what}")


def _announce(n_jobs: int) -> None:
    """Say what is about to be checked, where it takes more than a moment."""
    if n_jobs >= MANY_JOBS:
        with suppress(OSError):
            say(f"checking {counted(n_jobs, 'job')}")


def _train(asked: Composed, folder: Path) -> None:
    """Begin a run, or resume the one in its folder."""
    if sys.stdout.isatty() and asked.run.get("quiet") is not True:
        # Importing torch takes seconds, and reading data may take minutes.
        with suppress(OSError):
            say(f"reading data: {' '.join(f'{k}={asked.choices[k]}' for k in SHOWN)}")
    with not_collecting():
        config, parts = _check(asked)
        from sae_cli.runs.resume import begin_or_resume

    with _no_empty_folder_left(folder):
        begin_or_resume(config, folder, asked.overrides, parts)


def _sweep(asked: Asked, folder: Path, arguments: Arguments) -> int:
    """Run the jobs of a sweep, once all of them are known to be good.

    Returns:
        how many jobs did not finish.
    """
    with not_collecting():
        # A job may run in another process, so it builds its own parts.
        configs = [_check(job)[0] for job in asked.runs]
        from sae_cli.commands.sweep import begin_sweep

    return begin_sweep(asked, configs, folder, arguments)


def _resume(arguments: Arguments, folder: Path) -> int:
    """Resume a run or a sweep."""
    if arguments.multirun or arguments.pages is not None:
        raise ConfigError(
            f"resume={arguments.resume} resumes what was asked for then; leave out -m and "
            "--config-dir"
        )
    if not folder.is_dir():
        raise ConfigError(
            f"resume={arguments.resume}: no such folder; give that of a run, or of a sweep"
        )
    if holds_sweep(folder):
        refuse_sweep(f"resume={arguments.resume}")
        given = changes(arguments.overrides)
        if not _stays_quiet(given, folder):
            with suppress(OSError):
                say(f"checking the jobs of {short(folder)}")
        from sae_cli.runs.sweeps.running import resume_sweep
        from sae_cli.runs.sweeps.side_by_side import launcher_for

        left = resume_sweep(folder, given, lambda sweep: launcher_for(sweep, arguments.together))
        return SWEEP_FAILED if left else DONE
    with not_collecting():
        from sae_cli.runs.resume import resume

    resume(folder, changes(arguments.overrides))
    if holds_sweep(folder.parent):
        from sae_cli.runs.sweeps.results import write_results
        from sae_cli.runs.sweeps.sweep import read_sweep

        # The run has ended well, whatever keeps the table of its sweep from being written.
        with suppress(ConfigError, OSError):
            write_results(read_sweep(folder.parent))
    return DONE


def _stays_quiet(given: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether a sweep that is resumed is to be quiet."""
    if "quiet" in given:
        return given["quiet"] is True
    return is_quiet_sweep(folder)


def _check(asked: Composed) -> tuple[RunConfig, Parts]:
    """Give a typed configuration and its parts, which go together."""
    from sae_cli.assembly.parts import build_parts
    from sae_cli.assembly.prepare import check_pictures
    from sae_cli.config.schema import check

    config = check(asked.run)
    check_pictures(config)
    return config, build_parts(config)


def _folder(words: HydraWords, first: Composed, multirun: bool) -> Path:
    """Give the folder of the run or the sweep, absolute.

    Args:
        words: what the command line says of it.
        first: the run, or the sweep's first job.

    Raises:
        ConfigError: it is taken, or would not be used.
    """
    if multirun and "run" in words.folders:
        raise ConfigError("hydra.run.dir is not used in a sweep; give hydra.sweep.dir=FOLDER")
    if not multirun and "sweep" in words.folders:
        raise ConfigError("hydra.sweep.dir is used in a sweep only; give -m, or hydra.run.dir=")
    if not multirun and words.launcher:
        raise ConfigError(
            f"{words.launcher[0]}: a launcher starts the jobs of a sweep; add -m, or leave it out"
        )
    kind = "sweep" if multirun else "run"
    given = first.folder_name(words.folder(kind))
    folder = full_path(given)
    if any(mark in str(folder) for mark in ("\\", "${", "\n")):
        raise ConfigError(
            f"{folder} holds a backslash or ${{, which Hydra does not take in the name "
            f"of a folder; give another with hydra.{kind}.dir="
        )
    resumes = holds_sweep(folder) if multirun else holds_run(folder)
    if not resumes and not is_free(folder):
        raise ConfigError(
            f"hydra.{kind}.dir={given} is not an empty folder; choose another, or leave it out "
            "for a new one"
        )
    return folder


@contextmanager
def _no_empty_folder_left(path: Path) -> Iterator[None]:
    """Remove the folder of a run that does not begin, and new empty folders above it."""
    there = {folder for folder in (path, *path.parents) if folder.exists()}
    try:
        yield
    except BaseException:
        # A folder that is not empty cannot be removed.
        with suppress(OSError):
            for folder in (path, *path.parents):
                if folder not in there and folder.exists():
                    folder.rmdir()
        raise

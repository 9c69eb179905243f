"""The command ``sae-train``, from its arguments to its exit code.

Every configuration is composed and checked before Hydra starts a run, so that wrong input leaves
no folder behind. torch is imported only once the configurations have been composed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sae_cli.commands.arguments import TRACEBACK, Arguments, changes, parse
from sae_cli.commands.exits import DONE, guarded
from sae_cli.commands.launch import launch, launch_sweep, show
from sae_cli.config.compose import composed, hydra_ready, jobs, quoted
from sae_cli.config.hydra_errors import one_line
from sae_cli.config.hydra_pages import guard_pages
from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.layout import holds_run, holds_sweep, is_free

SWEEP_FAILED = 1
COMPOSITION = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code, one of those that the README lists.

    Raises:
        Stopped: by a signal.
    """
    # Hydra then raises what it would otherwise print in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    return guarded(lambda: _run_composed(arguments), show_traceback=TRACEBACK in arguments)


def _run_composed(arguments: Sequence[str]) -> int:
    try:
        return _run(parse(arguments))
    except COMPOSITION as error:
        raise ConfigError(one_line(error, ())) from error


def _run(arguments: Arguments) -> int:
    if arguments.version:
        print(f"sae-train {version('sae-train')}")
        return DONE
    if arguments.shows_config:
        (configuration, _), *_ = _composed(arguments)
        shown = _package(configuration, arguments.package)
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        return DONE
    if arguments.shows:
        guard_pages()
        if not arguments.completes:
            # Hydra sets up logging for its help, by whatever the settings name.
            _composed(arguments)
        try:
            show(arguments)
        except (ValueError, KeyError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
        return DONE
    if arguments.resume is not None:
        return _resume(arguments, Path(arguments.resume).expanduser().absolute())
    found = _composed(arguments)
    folder = _folder(found[0][1], arguments)
    configs = _checked([run for run, _ in found])
    if arguments.multirun:
        overrides = [list(hydra.overrides.task) for _, hydra in found]
        from sae_cli.runs.sweeps.sweep import sweep_of

        sweep = sweep_of(folder, overrides, configs)
        return SWEEP_FAILED if launch_sweep(arguments, sweep) else DONE
    launch(arguments, configs[0], folder)
    return DONE


def _resume(arguments: Arguments, folder: Path) -> int:
    """Go on with a run or a sweep."""
    if arguments.multirun or arguments.config_dir is not None:
        raise ConfigError(
            f"resume={arguments.resume} goes on with what was asked for then; leave out -m and "
            "--config-dir"
        )
    if not folder.is_dir():
        raise ConfigError(
            f"resume={arguments.resume}: no such folder; give that of a run, or of a sweep"
        )
    if holds_sweep(folder):
        from sae_cli.runs.sweeps.jobs import resume_sweep

        if arguments.overrides:
            raise ConfigError(
                f"{arguments.overrides[0]}: a sweep goes on as it was; give resume= alone"
            )
        return SWEEP_FAILED if resume_sweep(folder) else DONE
    from sae_cli.runs.resume import resume

    resume(folder, changes(arguments.overrides))
    return DONE


def _package(configuration: dict[str, Any], package: str | None) -> Any:
    """A part of the configuration, by its dotted name; all of it without one."""
    shown: Any = configuration
    for key in package.split(".") if package else ():
        if not isinstance(shown, dict) or key not in shown:
            raise ConfigError(
                f"--package {package}: no such key; the keys are {', '.join(configuration)}"
            )
        shown = shown[key]
    return shown


def _composed(arguments: Arguments) -> list[tuple[dict[str, Any], Any]]:
    """The configuration of every job, and Hydra's own settings with each.

    Raises:
        ConfigError: on the first fault.
    """
    overrides = list(arguments.overrides)
    if arguments.config_dir is not None:
        folder = Path(arguments.config_dir).absolute()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {arguments.config_dir}: no such folder")
        overrides.append(f"hydra.searchpath=[{quoted(f'file://{folder}')}]")
    found = []
    with hydra_ready():
        for job in jobs(overrides, arguments.multirun):
            try:
                found.append(composed(job))
            except COMPOSITION as error:
                raise ConfigError(one_line(error, job)) from error
            except (ValueError, AssertionError) as error:
                # What Hydra thinks of a page or an override that is none.
                raise ConfigError(" ".join(str(error).split())) from error
            except (LookupError, TypeError, AttributeError, RecursionError) as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                raise ConfigError(f"the pages cannot be composed: {text}") from error
    return found


def _checked(configurations: Sequence[dict[str, Any]]) -> list[Any]:
    """Typed configurations whose parts go together."""
    from sae_cli.assembly.parts import build_parts
    from sae_cli.config import schema as config

    checked = [config.check(configuration) for configuration in configurations]
    for typed in checked:
        build_parts(typed)
    return checked


def _folder(hydra: Any, arguments: Arguments) -> Path:
    """The folder of the run or sweep.

    Raises:
        ConfigError: it is taken, or would not be used.
    """
    asked = {override.partition("=")[0] for override in arguments.overrides}
    if arguments.multirun and "hydra.run.dir" in asked:
        raise ConfigError("hydra.run.dir is not used in a sweep; give hydra.sweep.dir=FOLDER")
    if not arguments.multirun and "hydra.sweep.dir" in asked:
        raise ConfigError("hydra.sweep.dir is used in a sweep only; give -m, or hydra.run.dir=")
    key = "sweep" if arguments.multirun else "run"
    folder = Path(str(hydra[key].dir))
    if any(mark in str(folder.absolute()) for mark in ("\\", "${", "\n")):
        raise ConfigError(
            f"{folder.absolute()} holds a backslash or ${{, which Hydra does not take in the name "
            f"of a folder; give another with hydra.{key}.dir="
        )
    taken_up = holds_sweep(folder) if arguments.multirun else holds_run(folder)
    if not taken_up and not is_free(folder):
        raise ConfigError(
            f"hydra.{key}.dir={folder} is not an empty folder; choose another, or leave it out for "
            "a new one"
        )
    return folder.absolute()

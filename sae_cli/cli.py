"""The command ``sae-train``.

Every configuration is composed and checked before Hydra starts a run, so that wrong input leaves
no folder behind. torch is imported only once the configurations have been composed.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sae_cli.arguments import TRACEBACK, Arguments, parse
from sae_cli.compose import composed, hydra_ready, jobs, quoted
from sae_cli.launch import launch, launch_sweep, show
from sae_cli.messages import one_line
from sae_cli.registry import ConfigError

DONE, SWEEP_FAILED, WRONG_INPUT, DIVERGED, MACHINE = 0, 1, 2, 3, 4
COMPOSITION = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def main() -> None:
    """The console command; exits with the codes the README lists."""
    signal.signal(signal.SIGTERM, _stopped)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    # Hydra then raises what it would otherwise print in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return _run(parse(arguments))
    except ConfigError as error:
        return _stop(str(error), WRONG_INPUT, arguments)
    except COMPOSITION as error:
        return _stop(one_line(error, ()), WRONG_INPUT, arguments)
    except KeyboardInterrupt:
        return _stop("interrupted", 128 + signal.SIGINT, arguments)
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        code, text = _machine_or_training(error)
        if code is None:
            raise
        return _stop(text, code, arguments)


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
        try:
            show(arguments)
        except (ValueError, KeyError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
        return DONE
    found = _composed(arguments)
    folder = _folder(found[0][1], arguments)
    configs = _checked([run for run, _ in found])
    if arguments.multirun:
        overrides = [list(hydra.overrides.task) for _, hydra in found]
        return SWEEP_FAILED if launch_sweep(arguments, configs, overrides, folder) else DONE
    launch(arguments, configs[0], folder)
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
    return found


def _checked(configurations: Sequence[dict[str, Any]]) -> list[Any]:
    """Typed configurations whose parts go together."""
    from sae_cli import build, config

    checked = [config.check(configuration) for configuration in configurations]
    for typed in checked:
        build.parts(typed)
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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"hydra.{key}.dir={folder} is not an empty folder; choose another, or leave it out for "
            "a new one"
        )
    return folder.absolute()


def _machine_or_training(error: Exception) -> tuple[int | None, str]:
    """Exit code and line of what is neither wrong input nor a bug; None for a bug."""
    # Known by name, so that help and typos are answered without importing torch.
    if type(error).__name__ == "DivergedError":
        return DIVERGED, str(error)
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM}
        text = f"{error.filename or 'input or output'}: {error.strerror or error}"
        return MACHINE if full else WRONG_INPUT, text
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "DefaultCPUAllocator" in str(error):
        return MACHINE, (
            "out of memory; lower batch_size, architecture.n_latents or architecture.hidden_sizes"
        )
    return None, ""


def _stopped(number: int, frame: Any) -> NoReturn:
    """A signal to stop ends the run as Ctrl-C does, with its own exit code."""
    raise SystemExit(128 + number)


def _stop(text: str, code: int, arguments: Sequence[str]) -> int:
    if TRACEBACK in arguments:
        traceback.print_exc()
    print(f"error: {text}", file=sys.stderr)
    return code

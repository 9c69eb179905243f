"""The command ``sae-train``.

Every configuration is composed and checked before Hydra starts a run, so that wrong input leaves
no folder behind. torch is imported only once a configuration has been composed.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sae_cli.arguments import Arguments, parse
from sae_cli.compose import CONF, PRIMARY, composed, hydra_ready, jobs, register_resolvers, settled
from sae_cli.messages import one_line
from sae_cli.registry import ConfigError
from sae_cli.sweep import SweepResults

DONE, SWEEP_FAILED, WRONG_INPUT, DIVERGED, MACHINE, INTERRUPTED = 0, 1, 2, 3, 4, 130

_raised: list[Exception] = []


def main() -> None:
    """The console command; exits with the codes the README lists."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    # Hydra then raises what it would otherwise print in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    wants_traceback = "--traceback" in arguments
    try:
        parsed = parse(arguments)
        if not parsed.shows:
            check(parsed)
        register_resolvers()
        sys.argv = [sys.argv[0], *parsed.for_hydra]
        _hydra_main()
        if _raised:
            raise _raised.pop()
    except ConfigError as error:
        return _stop(str(error), WRONG_INPUT, wants_traceback)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        text = one_line(error, parsed.overrides)
        return _stop(text, WRONG_INPUT, wants_traceback)
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return _stop(f"{error.filename}: {error.strerror}", WRONG_INPUT, wants_traceback)
    except OSError as error:
        text = f"{error.filename or 'the machine gave out'}: {error.strerror}"
        return _stop(text, MACHINE, wants_traceback)
    except KeyboardInterrupt:
        return _stop("interrupted", INTERRUPTED, wants_traceback)
    except Exception as error:
        # Known by name only here, so that help and typos are answered without importing torch.
        if type(error).__name__ == "DivergedError":
            return _stop(str(error), DIVERGED, wants_traceback)
        raise
    return SWEEP_FAILED if SweepResults.failed else DONE


def check(arguments: Arguments) -> None:
    """Compose and check the configuration of every job.

    Raises:
        ConfigError, HydraException, OmegaConfBaseException: on the first fault.
    """
    overrides = list(arguments.overrides)
    if arguments.config_dir is not None:
        folder = Path(arguments.config_dir).absolute()
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {arguments.config_dir}: no such folder")
        overrides.append(f"hydra.searchpath=[file://{folder}]")
    with hydra_ready():
        configurations = [composed(job) for job in jobs(overrides, arguments.multirun)]

    from sae_cli import build, config

    for configuration in configurations:
        build.parts(config.check(configuration))


@hydra.main(config_path=str(CONF), config_name=PRIMARY, version_base="1.3")
def _hydra_main(configuration: DictConfig) -> None:
    """What Hydra calls for each job."""
    from sae_cli.config import check
    from sae_cli.run_folder import RunFolder
    from sae_cli.train import train

    job = HydraConfig.get()
    path = Path(job.runtime.output_dir)
    overrides = list(job.overrides.task)
    try:
        train(check(settled(configuration, job)), path, overrides)
    except Exception as error:
        # A sweep goes on: the error stands in this job's log and is shown at once.
        if job.mode is not RunMode.MULTIRUN:
            if not any(path.iterdir()):
                path.rmdir()
            # Kept for ``run``: Hydra would print a line of its own.
            _raised.append(error)
            return
        folder = RunFolder(path)
        folder.log(traceback.format_exc())
        folder.write_overrides(overrides)
        folder.set_status("failed", error=str(error))
        print(f"error in job {path.name}: {error}", file=sys.stderr, flush=True)


def _stop(text: str, code: int, wants_traceback: bool) -> int:
    if wants_traceback:
        traceback.print_exc()
    print(f"error: {text}", file=sys.stderr)
    return code

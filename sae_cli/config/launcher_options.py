"""What options of launchers have to be beyond their types, which Hydra checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pydantic
from omegaconf import DictConfig, OmegaConf

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, Natural
from sae_cli.core.registry import validate

OPTION = "hydra.launcher"
# Options of sbatch for another cluster, among those that the launcher has no name for.
ADDITIONAL, CLUSTERS = "additional_parameters", {"clusters", "M"}
# joblib takes a number of jobs to have ready, or what is to be computed of n_jobs.
READY = re.compile(r"all|([1-9]\d*(\.\d+)?\s*\*\s*)?n_jobs|[1-9]\d*")
CHECKED_BY_JOBLIB = ("prefer", "require", "batch_size", "max_nbytes")
# The backend that the launcher takes whatever is given.
BACKEND = "loky"


class Numbers(pydantic.BaseModel):
    """Options of hydra-submitit-launcher that are numbers; those of Slurm alone may be missing."""

    timeout_min: Count
    cpus_per_task: Count | None
    gpus_per_node: Natural | None
    mem_gb: Natural | None
    cpus_per_gpu: Count | None = None
    gpus_per_task: Natural | None = None
    signal_delay_s: Natural = 0
    max_num_timeout: Natural = 0
    array_parallelism: Count = 1


def options_of(config: DictConfig) -> dict[str, Any]:
    """Give the options of the launcher in Hydra's settings, with all they refer to."""
    options = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items()}


def check_joblib(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for what hydra-joblib-launcher, or joblib, does not take or ignores."""
    from joblib import Parallel

    if options["n_jobs"] == 0:
        raise ConfigError(
            f"{OPTION}.n_jobs=0: needed: so many jobs at a time, 1 or more, or -1 for as many as "
            "there are cores"
        )
    if options["backend"] not in (None, BACKEND):
        raise ConfigError(
            f"{OPTION}.backend={options['backend']}: jobs are processes of {BACKEND}; leave it out"
        )
    if not READY.fullmatch(options["pre_dispatch"]):
        raise ConfigError(
            f"{OPTION}.pre_dispatch={options['pre_dispatch']}: needed: so many jobs that are sent "
            "ahead, such as 4, 2*n_jobs or all"
        )
    if options["timeout"] is not None and options["timeout"] <= 0:
        raise ConfigError(
            f"{OPTION}.timeout={options['timeout']:g}: needed: more than 0 seconds for a job; "
            "leave it out for as long as it takes"
        )
    given = {key: value for key, value in options.items() if not key.startswith("_")}
    # The launcher makes numbers of these.
    given |= {k: int(given[k]) for k in ("batch_size", "max_nbytes") if _is_whole(given[k])}
    try:
        Parallel(**given | {"backend": BACKEND})
    except (ValueError, TypeError) as error:
        words = ", ".join(f"{OPTION}.{key}=" for key in CHECKED_BY_JOBLIB)
        raise ConfigError(
            f"hydra/launcher=joblib: {' '.join(str(error).split())}; correct or leave out what is "
            f"given of {words}"
        ) from None


def _is_whole(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"-?\d+", text) is not None


def check_submitit(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for what a job of hydra-submitit-launcher cannot have."""
    for key in ("nodes", "tasks_per_node"):
        if options.get(key) not in (None, 1):
            raise ConfigError(
                f"{OPTION}.{key}={options[key]}: a job of a sweep is one process; leave it out, "
                f"and give it cores with {OPTION}.cpus_per_task"
            )
    for key in CLUSTERS & (options.get(ADDITIONAL) or {}).keys():
        raise ConfigError(
            f"{OPTION}.{ADDITIONAL}.{key}: a sweep submits to the cluster of this machine and asks "
            "that one for its jobs; leave it out, and start the sweep on a machine of the other "
            "cluster"
        )
    numbers = {key: options[key] for key in Numbers.model_fields if key in options}
    validate(Numbers, numbers, OPTION, "the launcher takes")

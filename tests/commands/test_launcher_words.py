"""Options of launchers that cannot be: what was given, what is allowed, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf.errors import ValidationError

from sae_cli.commands.launch import launcher_of
from sae_cli.config.launcher_errors import INSTALLED_BY, not_installed, wrong_value
from sae_cli.core.errors import ConfigError
from tests.forked import Forked

WORDS = ("-m", "seed=0,1")
JOBLIB, LOCAL = "hydra/launcher=joblib", "hydra/launcher=submitit_local"
OPTION = "hydra.launcher."

CASES = [
    # Another type
    (JOBLIB, "n_jobs=x", "must be a whole number; leave it out for -1"),
    (JOBLIB, "n_jobs=1.5", "must be a whole number; leave it out for -1"),
    (JOBLIB, "n_jobs=[1]", "must be a whole number; leave it out for -1"),
    (JOBLIB, "n_jobs=null", "needs a value; leave it out for -1"),
    (JOBLIB, "timeout=soon", "must be a number; leave it out for null"),
    (JOBLIB, "prefer={a:1}", "must be text; put it in quotes; leave it out for processes"),
    (LOCAL, "timeout_min=soon", "must be a whole number; leave it out for 60"),
    (LOCAL, "mem_gb=much", "must be a whole number; leave it out for null"),
    (LOCAL, "stderr_to_stdout=perhaps", "must be true or false; leave it out for false"),
    ("hydra/launcher=submitit_slurm", "setup=module", "must be a list, [A,B]; leave it out"),
    ("hydra/launcher=submitit_slurm", "setup={a:1}", "must be a list, [A,B]"),
    ("hydra/launcher=submitit_slurm", "additional_parameters=x", "must have names, {NAME:VALUE}"),
    # Values that nothing could be done with
    (JOBLIB, "n_jobs=0", "needed: so many jobs at a time, 1 or more, or -1"),
    (JOBLIB, "backend=threading", "jobs are processes of loky; leave it out"),
    (JOBLIB, "pre_dispatch=nope", "such as 4, 2*n_jobs or all"),
    (JOBLIB, "timeout=-1", "more than 0 seconds for a job; leave it out"),
    (JOBLIB, "timeout=0", "more than 0 seconds for a job; leave it out"),
    (JOBLIB, "pre_dispatch=0", "such as 4, 2*n_jobs or all"),
    (JOBLIB, "pre_dispatch=0*n_jobs", "such as 4, 2*n_jobs or all"),
    (LOCAL, "timeout_min=0", "must be greater than or equal to 1"),
    (LOCAL, "cpus_per_task=0", "must be greater than or equal to 1"),
    (LOCAL, "mem_gb=-1", "must be greater than or equal to 0"),
    (LOCAL, "nodes=2", "a job of a sweep is one process"),
]


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        launcher_of(words, None, "auto")
    return str(caught.value)


@pytest.mark.parametrize(("launcher", "word", "says"), CASES)
def test_it_says_what_would_do(launcher: str, word: str, says: str) -> None:
    text = refusal(launcher, OPTION + word)
    assert text.startswith(f"{OPTION}{word}: ")
    assert says in text


def test_an_option_that_is_taken_away() -> None:
    word = f"~{OPTION}n_jobs"
    assert refusal(JOBLIB, word).endswith(f"needs all of its options; leave {word} out")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("prefer=nope", "prefer=nope is not a valid backend hint, expected one of ('processes'"),
        ("require=nope", "require=nope is not a valid backend constraint, expected one of"),
        ("batch_size=0", "batch_size must be 'auto' or a positive integer, got: 0"),
        ("max_nbytes=much", "much"),
    ],
)
def test_what_joblib_does_not_take(word: str, says: str) -> None:
    text = refusal(JOBLIB, OPTION + word)
    assert text.startswith("hydra/launcher=joblib: ")
    assert says in text
    assert f"{OPTION}{word.partition('=')[0]}=" in text


@pytest.mark.parametrize(
    "words",
    [
        (JOBLIB, "prefer=threads", "pre_dispatch=all", "batch_size=2", "max_nbytes=10M"),
        (JOBLIB, "pre_dispatch=1.5*n_jobs", "timeout=10", "verbose=1", "mmap_mode=c"),
        (LOCAL, "timeout_min=5", "cpus_per_task=2", "gpus_per_node=0", "mem_gb=0"),
    ],
)
def test_what_is_taken(words: tuple[str, ...]) -> None:
    launcher_of([words[0], *(OPTION + word for word in words[1:])], None, "auto")


def test_an_unknown_option_and_those_that_there_are() -> None:
    text = refusal(JOBLIB, "hydra.launcher.n_job=2")
    assert text.startswith("unknown key hydra.launcher.n_job: the launcher takes n_jobs, backend, ")
    assert text.endswith("; did you mean hydra.launcher.n_jobs?")


@pytest.mark.parametrize("launcher", INSTALLED_BY)
def test_a_launcher_that_is_not_installed(launcher: str) -> None:
    text = not_installed(launcher, ["basic"])
    assert text is not None
    assert text.startswith(f"hydra/launcher={launcher} is not installed; pip install ")
    assert text.endswith("or choose one of basic")
    assert not_installed("nope", ["basic"]) is None


def test_an_error_that_nobody_knows() -> None:
    assert wrong_value("hydra.launcher.x=1", [ValueError("x"), ValidationError("odd")]) is None


def test_as_a_command(tmp_path: Path) -> None:
    forked = Forked(tmp_path)
    done = forked(*WORDS, JOBLIB, "hydra.launcher.n_jobs=two")
    assert (done.code, done.out) == (2, "")
    assert done.error.startswith("error: hydra.launcher.n_jobs=two: must be a whole number")
    ray = forked(*WORDS, "hydra/launcher=ray")
    assert ray.code == 2
    assert "hydra/launcher=ray is not installed; pip install hydra-ray-launcher" in ray.error
    own = forked("model=sparse_l1", "penalty=very_much_my_own")
    assert own.code == 2
    assert own.error.endswith("; a part of your own comes with --plugin FILE")
    assert not [*tmp_path.iterdir()]

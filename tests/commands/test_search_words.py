"""What a search is asked for, and how wrong words are refused: neither needs Optuna."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from sae_cli.config import search_space
from tests.conftest import Command
from tests.forked import Forked

ASKED = ("-m", "hydra/sweeper=optuna", "model=sparse_l1")
WEIGHT = "penalty.weight=tag(log,interval(1e-4,1))"
FVU = "objective=val/fvu"
BOTH = "objective=[val/fvu,val/l0]"
OPTION = "hydra.sweeper"

CASES = [
    # What is to be best
    ((WEIGHT,), "needs to know what is to be best; give objective=METRIC"),
    ((WEIGHT, "objective=val/fvi"), "objective=val/fvi is not a metric"),
    ((WEIGHT, "objective=auto"), "objective=auto is not a metric"),
    ((WEIGHT, "objective=[val/fvu,val/nope]"), "objective=val/nope is not a metric"),
    ((WEIGHT, "objective=val/accuracy"), "objective=val/accuracy needs a classifier"),
    ((WEIGHT, "objective=val/fvu,val/l0"), "name one metric, objective=val/fvu, or once a list"),
    ((WEIGHT, "objective=[val/l0,val/l0]"), "name one metric"),
    ((WEIGHT, "objective=3"), "name one metric"),
    ((WEIGHT, FVU, "objective=val/l0"), "name one metric"),
    # Options
    ((WEIGHT, FVU, f"{OPTION}.n_trials=0"), f"{OPTION}.n_trials=0: must be greater than"),
    ((WEIGHT, FVU, f"{OPTION}.n_trials=-3"), f"{OPTION}.n_trials=-3: must be greater than"),
    ((WEIGHT, FVU, f"{OPTION}.n_trials=two"), f"{OPTION}.n_trials=two: must be a whole number"),
    ((WEIGHT, FVU, f"{OPTION}.n_trials=1,2"), "the same for every job; give one value"),
    ((WEIGHT, FVU, f"{OPTION}.pruner=medain"), "did you mean median?"),
    ((WEIGHT, FVU, f"{OPTION}.pruner=[median]"), "must be 'none' or 'median'"),
    ((WEIGHT, FVU, f"{OPTION}.sampler=cma"), "must be 'tpe' or 'random'"),
    ((WEIGHT, FVU, f"{OPTION}.storage=x"), "a search takes n_trials, n_startup_trials, n_jobs"),
    ((WEIGHT, FVU, f"+{OPTION}.n_trials=2"), "hydra.sweeper is not for a page"),
    ((WEIGHT, FVU, f"{OPTION}._target_=os.getcwd"), "unknown option hydra.sweeper._target_"),
    ((WEIGHT, BOTH, f"{OPTION}.pruner=median"), "compares runs by one objective, and there are 2"),
    ((WEIGHT, "objective=test/fvu", f"{OPTION}.pruner=median"), "only metrics of val/ are known"),
    ((WEIGHT, FVU, "hydra/launcher=joblib"), "as many runs at a time as hydra.sweeper.n_jobs"),
    # What varies
    ((FVU,), "has nothing to search; give at least one setting an interval"),
    ((FVU, "penalty.weight=interval(1,0)"), "two numbers, the lower one first"),
    ((FVU, "penalty.weight=interval(1,1)"), "two numbers, the lower one first"),
    ((FVU, "penalty.weight=interval(-1,1)"), "penalty.weight=-1: must be greater than"),
    ((FVU, "penalty.weight=tag(log,interval(0,1))"), "the lower end must be above 0"),
    ((FVU, "penalty.weight=tag(lgo,interval(0.1,1))"), "the only tag is log, of an interval"),
    ((FVU, "penalty.weight=tag(log,choice(0.1,1))"), "the only tag is log, of an interval"),
    ((FVU, "penalty.weight=choice(0.1)"), "at least two different values"),
    ((FVU, "penalty.weight=0.1,0.1"), "at least two different values"),
    ((FVU, "penalty.weight=range(1,2)"), "at least two different values"),
    ((FVU, WEIGHT, "penalty.weight=0.1"), "penalty.weight is given twice"),
    ((FVU, "architecture.n_latents=interval(8.5,16)"), "must be a whole number"),
    ((FVU, "penalty.wieght=interval(0,1)"), "did you mean penalty.weight?"),
    ((FVU, "+penalty.weight=interval(0,1)"), "a search varies settings by their names"),
    ((FVU, "log_every=1,2"), "log_every changes no result"),
    ((FVU, "logger=[],[tensorboard]"), "logger changes no result"),
    ((FVU, "seed=range(0,9)", "penalty=glob(*)", "activation=glob(*)"), "at most 64"),
    ((FVU, WEIGHT, "optimizer.learning_rate=${penalty.weight}"), "other settings follow from"),
]


@pytest.mark.parametrize(("words", "says"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_wrong_words_are_one_line(command: Command, words: tuple[str, ...], says: str) -> None:
    done = command(*ASKED, *words)
    assert done.returncode == 2
    assert says in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("hydra/sweeper=optuna", WEIGHT, FVU), "a search makes many runs; add -m"),
        (("-m", "hydra/sweeper=optnua", WEIGHT, FVU), "did you mean hydra/sweeper=optuna?"),
        (("-m", "seed=1,2", FVU), "objective=val/fvu is what a search is for"),
        (("-m", "seed=1,2", f"{OPTION}.n_trials=3"), "hydra/sweeper=optuna searches"),
        (("-m", WEIGHT), "or search it: hydra/sweeper=optuna"),
    ],
)
def test_words_of_a_search_without_one(command: Command, words: tuple[str, ...], says: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def without_optuna() -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    vars(search_space)["version"] = version


def with_an_old_optuna() -> None:
    vars(search_space)["version"] = lambda name: "2.10.1"


def test_without_optuna_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    run = Forked(tmp_path)
    done = run(*ASKED, WEIGHT, FVU, before=without_optuna)
    assert done.code == 2
    assert done.error == (
        "error: hydra/sweeper=optuna needs Optuna: pip install 'sae-train[optuna]'"
    )
    done = run(*ASKED, WEIGHT, FVU, before=with_an_old_optuna)
    assert done.code == 2
    assert "needs Optuna 4 or newer, and 2.10.1 is here" in done.error


def test_what_hydra_offers_is_taken(command: Command) -> None:
    """Its help and its completion name no sweeper that is refused."""
    (line,) = [
        line for line in command("--hydra-help").stdout.splitlines() if "hydra/sweeper:" in line
    ]
    assert line == "hydra/sweeper: basic, optuna"
    done = command("-m", "hydra/sweeper=basic", "--cfg", "job", "seed=1,2")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hydra/", "hydra/launcher= hydra/sweeper="),
        ("hydra.", "hydra.launcher. hydra.run. hydra.sweep. hydra.sweeper."),
        ("hydra.sweep.", "hydra.sweep.dir="),
        ("hydra.job.", ""),
        ("hydra/sweeper=", "hydra/sweeper=basic hydra/sweeper=optuna"),
        (
            "hydra/sweeper=optuna hydra.sweeper.n_",
            "hydra.sweeper.n_jobs= hydra.sweeper.n_startup_trials= hydra.sweeper.n_trials=",
        ),
        ("penalty.w", "penalty.weight="),
    ],
)
def test_completion_offers_what_is_taken(
    command: Command, monkeypatch: pytest.MonkeyPatch, typed: str, offered: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"sae-train -m {typed}")
    done = command("-sc", "query=bash")
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(sorted(done.stdout.split())) == offered

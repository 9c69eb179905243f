"""Wrong input: one line that says what to do, exit code 2, nothing left behind."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.config.conf_folder import CONF
from sae_cli.config.hydra_errors import one_line
from sae_cli.core.shapes import UNIT
from sae_cli.model.activations.pointwise import activations_within
from tests.conftest import Command
from tests.forked import Forked

PENALTIES = ", ".join(sorted(page.stem for page in (CONF / "penalty").glob("*.yaml")))
UNIT_ACTIVATIONS = ", ".join(activations_within(UNIT))

CASES: list[tuple[str, str]] = [
    # Keys
    (
        "penalty.wieght=1",
        "penalty=kl takes weight, target, divide_by_batch_size; did you mean penalty.weight?",
    ),
    ("modle=ae", "unknown key modle; did you mean model?"),
    ("name=foo", "unknown key name; `sae-train --help` lists the settings"),
    (
        "model=topk active_above=1",
        "with activation=elu or activation=gaussian or activation=gelu or another of 13?",
    ),
    ("epoch=3", "unknown key epoch; did you mean epochs?"),
    ("optimizer.lr=0.1", "unknown key optimizer.lr: optimizer=adam takes learning_rate, beta1"),
    ("learning_rate=0.1", "did you mean optimizer.learning_rate?"),
    ("early_stopping=true", "a run trains all its epochs and keeps the best weights"),
    ("wandb=true", "did you mean logger=wandb?"),
    ("logger=nope", "logger=nope is unknown; choose one of mlflow, none, tensorboard, wandb"),
    ("logger=[tensorboard,nope]", "logger=nope is unknown; choose one or several of none, mlflow"),
    ("logger.mlflow.log_every=3", "the run has no logger=mlflow; choose it with logger=mlflow"),
    ("logger=tensorboard logger.log_every=3", "options are logger.NAME.OPTION"),
    (
        "logger=tensorboard logger.tensorboard.log_evry=3",
        "did you mean logger.tensorboard.log_every",
    ),
    (
        "logger=tensorboard logger.tensorboard.log_every=0",
        "logger.tensorboard.log_every=0: must be",
    ),
    ("neptune=true", "logger=tensorboard, mlflow and wandb are what metrics can go to"),
    ("model=conv architecture.n_hidden=9", "did you mean architecture.n_latents?"),
    ("model=local_filters n_hidden=9", "did you mean architecture.sheet?"),
    ("stride=1", "did you mean penalty.stride, with penalty=group?"),
    ("output_dir=x", "did you mean hydra.run.dir?"),
    ("-m output_dir=x,y", "did you mean hydra.sweep.dir?"),
    ("corruption.dropout=0.1", "corruption=none takes no options; did you mean corruption=dropout"),
    ("model.name=ae", "choose a page by its name, model=NAME"),
    (
        "model.hidden=9",
        "a model is a page that sets the options of other groups; did you mean arch",
    ),
    ("model.abc=9", "a model is a page that sets the options of other groups"),
    ("~abc", "~abc: there is no abc to leave out"),
    ("+seed=1", "seed is set already; write seed=VALUE without the +"),
    ("+dataset=digits", "dataset is chosen already; write dataset=NAME without the +"),
    ("+penalty.foo=1", "unknown option penalty.foo=1: kl takes weight, target"),
    ("+a=1", "unknown key a; `sae-train --help` lists the settings"),
    ("hydra.foo=1", "unknown key hydra.foo"),
    ("~seed", "seed is missing"),
    ("~penalty", "penalty is missing: give penalty=NAME"),
    # Choices
    ("model=sparse_kll", "did you mean sparse_kl?"),
    ("penalty=l3", f"penalty=l3 is unknown; choose one of {PENALTIES}"),
    ("dataset=imagenet", "choose one of array, cifar10, digits, fashion_2k, fashion_mnist"),
    ("device=gpu", "device=gpu is unknown; choose one of auto, cpu, cuda"),
    ("sort_by=val/nope", "sort_by=val/nope is not a metric; choose one of train/loss"),
    ("penalty=null", "choose a page by its name, penalty=NAME"),
    ("penalty=[l1,kl]", "choose a page by its name, penalty=NAME"),
    ("penalty={weight:1}", "choose a page by its name, penalty=NAME"),
    ("penalty=l1,kl", "penalty=l1,kl are several values; add -m to sweep over them"),
    (
        "architecture.hidden_sizes=9,8",
        "write architecture.hidden_sizes=[9,8] for one list, or -m arch",
    ),
    ("device=gpu", "did you mean cuda?"),
    ("+experiment=hands_on_tied", "experiment is chosen twice"),
    ("experiment=hands_on_tied model=ae", "experiment=hands_on_tied brings its own model"),
    # Types
    ("penalty.weight=abc", "penalty.weight=abc: must be a number"),
    ("epochs=1.5", "epochs=1.5: must be a whole number"),
    ("seed=null", "seed=null: must be a whole number"),
    ("pictures=maybe", "pictures=maybe: must be true or false"),
    ("architecture.hidden_sizes=100", "for example architecture.hidden_sizes=[100]"),
    ("architecture.init=glorot", "architecture.init=glorot: must be 'glorot_uniform'"),
    ("architecture.hidden_activations=[rely]", "did you mean relu?"),
    # Ranges
    ("penalty.weight=-1", "penalty.weight=-1: must be greater than or equal to 0"),
    ("penalty.weight=nan", "penalty.weight=nan: must be a finite number"),
    ("penalty.target=1.5", "penalty.target=1.5: must be less than 1"),
    ("penalty.target=0", "penalty.target=0: must be greater than 0"),
    ("epochs=0", "epochs=0: must be greater than or equal to 1"),
    ("batch_size=0", "batch_size=0: must be greater than or equal to 1"),
    ("optimizer.learning_rate=0", "optimizer.learning_rate=0: must be greater than 0"),
    # What tensors cannot hold
    (
        "optimizer.learning_rate=1e300",
        "learning_rate=1e+300: must be less than or equal to 3.4e+38",
    ),
    ("penalty.weight=1e39", "penalty.weight=1e+39: must be less than or equal to 3.4e+38"),
    ("seed=9999999999999999999999", "must be less than or equal to 9223372036854775807"),
    ("corruption=masking corruption.fraction=1", "corruption.fraction=1: must be less than 1"),
    ("seed=-1", "seed=-1: must be greater than or equal to 0"),
    ("batch_size=5000", "batch_size=5000 is more than the 1297 training examples"),
    ("dataset.val=1000 dataset.test=797", "leave nothing of the 1797 examples"),
    ("epochs=1 lr_schedule.warmup_steps=50", "must be below the 41 steps of the stage"),
    # Values that are missing
    ("dataset=array", "dataset.path needs a value; give dataset.path=VALUE"),
    ("seed=", "write seed=value without spaces"),
    ("seed=${nothing}", "Interpolation key 'nothing' not found"),
    # What is no override
    ("--penalty.weight=0.05", "settings have no dashes; write penalty.weight=0.05"),
    ("--mutlirun", "--mutlirun is not an option"),
    ("penalty.weight = 0.05", "write key=value without spaces"),
    ("sparse_kl", "'sparse_kl' is not a setting; write key=value"),
    ("name=x=1", "quote values with special characters"),
    ("--config-dir nowhere", "--config-dir nowhere: no such folder"),
    ("--config-dir", "--config-dir needs a value"),
    # What does not go together
    (
        "dataset=../acts.npy",
        "dataset=../acts.npy is not a page; a file of numbers is dataset=array",
    ),
    ("dataset=../my/plugin.py", "--plugin ../my/plugin.py loads a plug-in, and dataset=NAME"),
    ("penalty=plugin.py", "--plugin plugin.py loads a plug-in, and penalty=NAME chooses a part"),
    ("dataset=acts.npy", "dataset.path=acts.npy, a folder of pictures dataset=image_folder"),
    ("model=ae penalty.weight=0.05", "penalty=none takes no options; choose one that has weight: "),
    (
        "model=topk penalty.target_l0=5",
        "penalty.target_l0: penalty=none takes no options; choose one that has target_l0: penalty=",
    ),
    ("activation=relu", f"choose activation from {UNIT_ACTIVATIONS}, or another penalty"),
    ("reconstruction=bce", "needs architecture.output_activation=sigmoid, given identity"),
    (
        "model=stacked architecture.hidden_sizes=[]",
        "give architecture=dense some architecture.hidden_sizes",
    ),
    (
        "architecture.n_latents=9 architecture.expansion_factor=2",
        "give a number for one of them and null for the other",
    ),
    # Folders
    ("hydra.run.dir=taken", "hydra.run.dir=taken is not an empty folder"),
    ("-m hydra.run.dir=x seed=1,2", "not used in a sweep; give hydra.sweep.dir=FOLDER"),
    ("hydra.sweep.dir=x", "used in a sweep only"),
    ("-m hydra.sweep.dir=taken seed=1,2", "hydra.sweep.dir=taken is not an empty folder"),
    ("-m seed=range(1,1)", "sweeps over nothing"),
    ("seed=range(0,3)", "seed=range(0,3) are several values; add -m to sweep over them"),
    ("penalty=glob(l*)", "penalty=glob(l*) are several values; add -m to sweep over them"),
    ("-m seed=glob(*)", "glob finds pages, and seed does not choose one"),
    ("penalty.weight=interval(0,1)", "an interval has none; write penalty.weight=A,B,C"),
    ("-m penalty.weight=interval(0,1)", "an interval has none; write penalty.weight=A,B,C"),
    ("-m hydra.sweeper.params.seed=0,1", "are the same for every job; give one value"),
    ("hydra/sweeper=optuna", "a search makes many runs; add -m"),
    ("-m penalty.weight=logspace(0,1,3)", "both ends of a logspace must be above 0"),
    ("penalty.weight=linspace(0,1,3)", "are several values; add -m to sweep over them"),
    ("hydra/launcher=basic", "a launcher starts the jobs of a sweep; add -m"),
    ("-m hydra/launcher=basic,joblib seed=0,1", "the same for every job; give one value"),
    ("hydra.run.dir=a,b", """quote a name that holds a comma: 'hydra.run.dir="a,b"'"""),
    ("-m hydra.launcher.nope=2 seed=0,1", "the launcher has no such option"),
    ("--cfg jab", "--cfg jab: choose one of job, hydra, all"),
    # What Hydra would run
    (
        "+hydra.callbacks.x._target_=os.getcwd",
        "hydra.callbacks is not for a page or the command line to change",
    ),
    ("hydra.launcher._target_=os.getcwd", "hydra.launcher asks to run os.getcwd"),
    ("+hydra.launcher.x._target_=os.getcwd", "choose one with hydra/launcher=NAME"),
    ("hydra.launcher=basic", "choose one with hydra/launcher=NAME"),
    ("-m hydra.sweeper.max_batch_size=1 seed=1,2", "hydra.sweeper is not for a page"),
    ("-m +hydra.sweeper.params.x=1,2 seed=1", "error: "),
    ("hydra/job_logging=default", "hydra.job_logging is not for a page"),
    ("hydra.output_subdir=x", "hydra.output_subdir is not for a page"),
    ("-m hydra.sweep.subdir=same seed=1,2", "hydra.sweep.subdir is not for a page"),
    ("hydra.mode=MULTIRUN", "hydra.mode is not for a page"),
    (r"hydra.run.dir='a\b'", "which Hydra does not take in the name of a folder"),
    ("~model", "~model: a run needs one"),
    # Showing instead of running
    ("--cfg job -p nope", "--package nope: no such key; the keys are model, experiment"),
    ("-p penalty", "give --cfg job with it"),
    ("--resolve", "--resolve is not an option"),
    ("-sc query=bash", "error: "),
    # A sweep is checked whole before its first job
    ("-m penalty.weight=0.1,-1", "penalty.weight=-1: must be greater than or equal to 0"),
    (
        "-m model=sparse_kl,ae penalty.weight=0.1",
        "penalty=none takes no options; choose one that has weight: ",
    ),
    ("-m penalty=kl,l1 activation=sigmoid,relu", "penalty=kl needs codes in [0, 1]"),
]


# Cases of a kind stand together; every other one is left to ``-m slow``.
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(*case, id=case[0], marks=pytest.mark.slow if number % 2 else ())
        for number, case in enumerate(CASES)
    ],
)
def test_wrong_input(command: Command, tmp_path: Path, arguments: str, says: str) -> None:
    (tmp_path / "taken").write_text("a file")
    done = command(*arguments.split())
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"taken", "outputs"}
    assert not list(tmp_path.glob("outputs/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so device=cuda is right")
def test_no_gpu(command: Command) -> None:
    done = command("device=cuda")
    assert done.returncode == 2
    assert "choose device=cpu or device=auto" in done.stderr


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("name: kl\nweight: [1\n", "kl2.yaml, line 3, column 1: not valid YAML"),
        # A page that builds on another has what these two say, and no more.
        (
            "defaults: [none, _self_]\nname: kl\nweight: 1\n",
            "penalty.target is missing: kl takes weight, target",
        ),
        ("name: k\nweight: 1\n", f"penalty=k is unknown; choose one of {PENALTIES}"),
        ("weight: 1\n", "is not a part with a name"),
        ("name: kl\nweight: 1\nwieght: 2\n", "unknown option penalty.wieght=2"),
        ("defaults: 3\n", "defaults must be a list"),
        (b"name: \xff\xfe\n", "the page is not UTF-8 text"),
    ],
)
def test_a_faulty_page_of_the_user(
    command: Command, tmp_path: Path, page: str | bytes, says: str
) -> None:
    folder = tmp_path / "mine" / "penalty"
    folder.mkdir(parents=True)
    (folder / "kl2.yaml").write_bytes(page if isinstance(page, bytes) else page.encode())
    done = command("--config-dir", "mine", "penalty=kl2")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_what_a_file_is_answered_with_can_be_typed(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "my acts.npy", np.random.default_rng(0).random((90, 8)))
    error = command("model=ae", "dataset=my acts.npy").stderr
    _, _, words = error.partition("a file of numbers is ")
    words, _, _ = words.partition(", a folder of pictures")
    done = command("model=ae", *shlex.split(words), "epochs=1", "pictures=false")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_flag_shows_the_traceback(command: Command) -> None:
    done = command("--traceback", "epochs=0")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: epochs=0")


@pytest.mark.parametrize("arguments", ["penalty.wieght=1", "model=nope", "--help"])
def test_help_and_typos_do_not_wait_for_torch(arguments: str, tmp_path: Path) -> None:
    """Importing it takes seconds, which nobody should wait for a typo to be named."""
    program = (
        "import atexit, sys; from sae_cli.commands.train import run; atexit.register(lambda: "
        "print('torch imported:', 'torch' in sys.modules, file=sys.stderr)); run(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "torch imported: False"


@pytest.mark.parametrize(
    ("name", "words", "takes_sweeps"),
    [
        ("sae_evaluate", ("{}",), False),
        ("sae_export", ("{}", "--format=saelens", "--to=new"), False),
        ("sae_runs", ("show", "{}"), False),
        ("sae_train", ("resume={}",), True),
        ("sae_reproduce", ("{}",), True),
    ],
)
def test_a_folder_of_runs_where_one_is_wanted(
    name: str, words: tuple[str, ...], takes_sweeps: bool, tmp_path: Path
) -> None:
    sweep = tmp_path / "outputs" / "my sweep"
    for job in ("1_seed=1", "0_seed=0"):
        (sweep / job).mkdir(parents=True)
        (sweep / job / "config.yaml").touch()
    (sweep / "sweep.yaml").touch()
    says = {"outputs": "outputs holds runs; give one of them, such as 'outputs/my sweep'"}
    if not takes_sweeps:
        says["outputs/my sweep"] = (
            "outputs/my sweep holds a sweep; give one of its runs, such as "
            "'outputs/my sweep/0_seed=0'"
        )
    for given, said in says.items():
        done = Forked(tmp_path, name)(*(word.format(given) for word in words))
        assert (done.code, done.out, done.error) == (2, "", f"error: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_errors_that_cause_each_other_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert one_line(first, ()) == "first"

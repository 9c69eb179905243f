"""The help: a screen, a group, a page, an option; said from the pages' own texts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sae_cli.commands.help_words import GROUPS
from sae_cli.config.compose import compose_run, hydra_ready
from sae_cli.config.conf_folder import CONF
from tests.conftest import Command, slow
from tests.contracts.small import MODELS
from tests.forked import Forked

COLUMNS, LINES = 80, 40
COMMANDS = ("sae_train", "sae_report", "sae_reproduce", "sae_export")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
TRIED = ("sparse_kl", "vae", "conv_group_sparse", "drsae")
VALUE = re.compile(r"  (?P<key>[a-z_0-9]+(?:\.[a-z_0-9]+)?)=(?P<value>.*?)  \(.*")


@pytest.fixture
def explain(command: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lines of the help on some words, on a screen of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def run(*words: str) -> list[str]:
        done = command("--help", *words)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= COLUMNS
        return lines

    return run


def test_the_first_help_is_one_screen(explain: Any) -> None:
    lines = explain()
    assert len(lines) <= LINES
    for group in GROUPS:
        (line,) = [line for line in lines if line.startswith(f"  {group} ")]
        assert line.split()[1] == str(len(list((CONF / group).glob("*.yaml"))))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_one_screen_and_its_versions(name: str, tmp_path: Path) -> None:
    run = Forked(tmp_path, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(COLUMNS))
        done = run("--help")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) <= LINES and max(map(len, lines)) <= COLUMNS
    program = name.replace("_", "-")
    assert sum(line.startswith(f"  {program}") for line in lines) >= 2
    done = run("--version")
    assert (done.code, done.err) == (0, "")
    import torch

    version = ".".join(map(str, sys.version_info[:3]))
    found = re.fullmatch(rf"{program} \d\S* \(torch (\S+), Python {version}\)\n", done.out)
    assert found and torch.__version__.startswith(found[1])


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_pages_with_their_titles(group: str, explain: Any) -> None:
    lines = explain(group)
    for path in (CONF / group).glob("*.yaml"):
        comments = [line for line in path.read_text().splitlines() if not line.startswith("# @")]
        title = comments[0].removeprefix("# ").removesuffix(".")
        assert [line.split(maxsplit=1) for line in lines].count([path.stem, title]) == 1


@pytest.mark.parametrize(
    "choice",
    [
        *(f"model={name}" for name in TRIED),
        *("experiment=hands_on_vae", "experiment=lateral_tree"),
        *slow([f"model={name}" for name in MODELS if name not in TRIED]),
        *slow([f"experiment={name}" for name in EXPERIMENTS]),
    ],
)
def test_the_values_of_a_page_of_a_run_are_those_that_hydra_composes(
    choice: str, explain: Any
) -> None:
    lines = [found for line in explain(choice) if (found := VALUE.fullmatch(line))]
    shown = {found["key"]: yaml.safe_load(found["value"]) for found in lines}
    with hydra_ready():
        run = compose_run([choice])[0]
    for key, value in shown.items():
        group, _, option = key.rpartition(".")
        assert value == (run[group] if group else run)[option], key
    # Every option of the penalty and of the layers is there.
    for group in ("penalty", "architecture"):
        assert {key for key in shown if key.startswith(f"{group}.")} == {
            f"{group}.{option}" for option in run[group] if option != "name"
        }


def test_a_page_has_its_equation_its_source_and_what_options_take(explain: Any) -> None:
    text = "\n".join(explain("model=vae"))
    assert "Kingma and Welling 2014" in text
    assert "sum over features (x - x_hat)^2 + weight * sum over latents KL(N(mean," in text
    assert "  penalty.weight=0.2  (a number, 0 or more)" in text
    assert "beta of a beta-VAE" in text


def test_an_option_says_what_it_takes_its_default_and_which_pages_have_it(explain: Any) -> None:
    assert explain("penalty.target=0.2") == [
        "penalty.target",
        "",
        "  The mean activity each latent is drawn to, between 0 and 1.",
        "  takes    a number, above 0, below 1",
        "  default  0.1  (penalty=kl, penalty=squared_target)",
    ]
    assert explain("target") == explain("penalty.target")
    assert "  default  50" in explain("epochs")
    assert explain("resume")[0] == "resume=FOLDER"


def test_a_bare_name_of_pages_explains_each(explain: Any) -> None:
    lines = explain("gaussian")
    assert [line.split()[0] for line in lines if re.match(r"(activation|corruption)=", line)] == [
        "activation=gaussian",
        "corruption=gaussian",
    ]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("penalty.tarket", "did you mean penalty.target?"),
        ("modle", "did you mean model?"),
        ("model=vea", "did you mean vae?"),
        ("model=sparse_lk", "did you mean sparse_kl?"),
        ("lr", "did you mean optimizer.learning_rate?"),
        ("spars_kl", "did you mean sparse_kl?"),
        ("epoch", "did you mean epochs?"),
    ],
)
def test_a_misspelt_word_suggests_the_nearest(command: Command, word: str, says: str) -> None:
    done = command("--help", word)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: --help {word}: ") and says in line


@pytest.mark.parametrize("words", [("--help", "model=vae"), ("--help",), ("--version",)])
def test_help_imports_nothing_that_takes_long(words: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys; from sae_cli.commands.train import run; code = run(sys.argv[1:]); "
        "print(code, [n for n in ('torch', 'hydra', 'pydantic', 'numpy') if n in sys.modules], "
        "file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    # argparse ends the command itself for the versions of the others.
    assert done.stderr == "0 []\n"


def test_pages_of_the_user_are_explained_and_nothing_of_them_is_run(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "penalty"
    folder.mkdir(parents=True)
    text = "# Gentle \x1b[31mred\x07.\nname: l1\n# How ${oc.env:HOME} it is.\nweight: &a 0.1\n"
    (folder / "gentle.yaml").write_text(text)
    os.mkfifo(folder / "pipe.yaml")
    done = command("--config-dir", "mine", "--help", "penalty", "penalty=gentle", "penalty.weight")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout
    assert "How ${oc.env:HOME} it is." in done.stdout
    assert "gentle" in done.stdout and "pipe" not in done.stdout

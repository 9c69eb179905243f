"""Command lines taken apart: options and words in any order, and what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.commands import report, reproduce
from sae_cli.commands.arguments import parse
from sae_cli.commands.parser import Parser
from sae_cli.core.errors import ConfigError

WORDS = ("~model", "+a=1", "seed=-1", "penalty.weight=0.1", "x=[-1,2]", "dataset.path=-a b")


def test_words_and_options_stand_in_any_order() -> None:
    options = ("-m", "--traceback", "-c=job", "--package", "penalty")
    orders = [
        (*WORDS, *options),
        (*options, *WORDS),
        (*WORDS[:3], *options[:2], *WORDS[3:5], *options[2:], *WORDS[5:]),
    ]
    for order in orders:
        found = parse(order)
        assert found.overrides == list(WORDS)
        assert (found.multirun, found.shows, found.package) == (True, "job", "penalty")


@pytest.mark.parametrize("given", [["--config-dir=X"], ["--config-dir", "X"], ["-cd", "X"]])
def test_the_folder_of_pages(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "X").mkdir()
    assert parse(["seed=1", *given, "epochs=2"]).pages == tmp_path / "X"


@pytest.mark.parametrize(
    ("shows", "options"),
    {
        "help": ("-h", "--help"),
        "hydra_help": ("--hydra-help",),
        "version": ("--version",),
        "completion": ("-sc", "--shell-completion"),
    }.items(),
)
def test_what_is_shown(shows: str, options: tuple[str, ...]) -> None:
    assert [parse([option]).shows for option in options] == [shows] * len(options)


def test_resume_is_not_an_override() -> None:
    found = parse(["epochs=3", "resume=a=b"])
    assert (found.overrides, found.resume) == (["epochs=3"], "a=b")


WRONG = [
    ("--mut", "--mut is not an option; the options are --"),
    ("--mut", "did you mean --multirun?"),
    ("-x", "-x is not an option"),
    ("--multirun=1", "--multirun takes no value"),
    ("-mx", "--multirun takes no value"),
    ("-cd", "--config-dir needs a value"),
    ("--cfg -m", "--cfg needs a value"),
    ("-model=ae", "-model=ae: settings have no dashes; write model=ae"),
    ("-1", "'-1' is not a setting"),
]


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_what_is_neither_option_nor_word(words: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(words.split())
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("words", "write"),
    [
        ("--epochs 3", "epochs=3"),
        ("model=ae --batch-size 32 seed=1", "batch_size=32"),
        ("--seed -1", "seed=-1"),
        ("--resume", "resume=FOLDER"),
        ("--resume outputs/x", "resume=outputs/x"),
        ("-model ae", "model=ae"),
        ("--quiet model=ae", "quiet=true"),
        ("--epochs -m", "epochs=VALUE"),
        ("--optimizer.learning_rate 0.1", "optimizer.learning_rate=0.1"),
        ("--hydra.run.dir x", "hydra.run.dir=x"),
    ],
)
def test_a_setting_given_as_an_option(words: str, write: str) -> None:
    given = next(word for word in words.split() if word.startswith("-"))
    with pytest.raises(ConfigError) as raised:
        parse(words.split())
    assert str(raised.value) == f"unknown option {given}; write {write}"


@pytest.mark.parametrize("make", [report._parser, reproduce._parser])
def test_the_other_commands_say_the_same(make: object) -> None:
    assert callable(make)
    parser: Parser = make()
    for words, says in (
        ("a --traceb", "--traceb is not an option; the options are --"),
        ("a --into", "--into needs a value"),
        ("a --epochs=3", "--epochs=3: settings have no dashes; write epochs=3"),
        ("", f"{parser.prog} --help lists what can be given"),
    ):
        with pytest.raises(ConfigError) as raised:
            parser.take_apart(words.split())
        assert says in str(raised.value)


def test_a_reproduction_takes_its_words_in_any_order() -> None:
    given = reproduce._parser().take_apart(["run", "--check", "pictures=false", "progress=true"])
    assert (given.folder, given.changes) == ("run", ["pictures=false", "progress=true"])

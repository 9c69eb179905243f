"""Every command line that the documentation shows is one that the commands take.

Nothing is trained: of ``sae-train`` the configuration is composed and checked, and the parts are
built; the others take their words apart.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from sae_cli.assembly.parts import build_parts
from sae_cli.commands import evaluate, export, report, reproduce, runs
from sae_cli.commands.arguments import parse
from sae_cli.commands.help_topics import HelpTopics
from sae_cli.config.asked import read
from sae_cli.config.page_texts import Pages
from sae_cli.config.schema import check
from sae_cli.core.errors import ConfigError
from tests.documents.pages import PAGES, blocks_of, name_of

OTHERS = {
    "sae-evaluate": evaluate._parser,
    "sae-export": export._parser,
    "sae-report": report._parser,
    "sae-reproduce": reproduce._parser,
    "sae-runs": runs._parser,
}
COMMAND = re.compile(r"^\$? *(sae-[a-z]+)(?: |$)")
# Those that are made, and what was; test_plugins_page.py runs the lines of plugins.md.
LEFT_OUT = ("plugins.md", "models.md", "options.md", "results.md", "CHANGELOG.md")
SHOWN = [page for page in PAGES if page.name not in LEFT_OUT]


def command_lines(text: str) -> list[tuple[str, str]]:
    """The lines of a page's blocks that begin with a command of ours, and what stands below each,
    up to the next."""
    found: list[tuple[str, str]] = []
    for _, block in blocks_of(text):
        lines = [part.strip() for line in block.splitlines() for part in line.split(" && ")]
        starts = [n for n, line in enumerate(lines) if COMMAND.match(line)]
        for start, end in pairwise([*starts, len(lines)]):
            found.append((lines[start].removeprefix("$ "), " ".join(lines[start + 1 : end])))
    return found


def take_apart(line: str) -> list[str]:
    """Take a line apart as a shell does, without the comment at its end."""
    return shlex.split(line, comments=True)


@cache
def take(line: str) -> None:
    """Take a command line as its command does, up to where the work would begin.

    Raises:
        ConfigError: it is wrong.
    """
    name, *words = take_apart(line)
    if name in OTHERS:
        given = OTHERS[name]().take_apart(words)
        if name == "sae-evaluate":
            take_data([word for word in given.words if word.startswith("dataset")])
        return
    if name != "sae-train":
        raise ConfigError(f"{name}: there is no such command")
    arguments = parse(words)
    if arguments.shows == "help":
        for word in arguments.overrides:
            HelpTopics(Pages()).explain(word)
    if arguments.resume is None and arguments.shows in (None, "job"):
        asked = read(arguments.overrides, multirun=arguments.multirun, pages=arguments.pages)
        for one in asked.runs:
            build_parts(check(one.run))


def take_data(words: list[str]) -> None:
    if words:
        check(read(words, multirun=False, pages=None).runs[0].run)


@pytest.mark.parametrize("page", SHOWN, ids=name_of)
def test_every_command_line_is_taken(page: Path) -> None:
    """One with an error below it is refused, in these words as far as they are shown."""
    wrong = []
    for line, below in command_lines(page.read_text("utf-8")):
        says = below.removeprefix("error: ").partition("...")[0] if "error: " in below else ""
        try:
            take(line)
        except ConfigError as error:
            # What is to be installed is not wrong.
            if not says and "pip install" not in str(error):
                wrong.append(f"{line}\n    {error}")
            assert str(error).startswith(says)
        else:
            assert not says, line
    assert not wrong, "\n".join(wrong)


def test_command_lines_are_found() -> None:
    lines = {line for page in SHOWN for line, _ in command_lines(page.read_text("utf-8"))}
    assert len(lines) > 50
    assert {line.split()[0] for line in lines} == {"sae-train", *OTHERS}


@pytest.mark.parametrize(
    "line",
    [
        "sae-train model=sparse_kll",
        "sae-train penalty.wieght=1",
        "sae-train model=ae penalty.weight=0.05",
        "sae-train --halp",
        "sae-train --help penalti",
        "sae-runs --were x=1",
        "sae-evaluate RUN dataset=mnist5",
        "sae-show RUN",
    ],
)
def test_a_wrong_line_is_noticed(line: str) -> None:
    with pytest.raises(ConfigError):
        take(line)

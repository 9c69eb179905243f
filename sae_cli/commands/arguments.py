"""The command line of ``sae-train``, taken apart before anything is composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sae_cli.commands.parser import Parser
from sae_cli.config.texts import TEXTS, read_text
from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path

CFG_VALUES = ("job", "hydra", "all")
RESUME, TOGETHER = "resume=", "sweep.together="
TOGETHER_VALUES = ("auto", "on", "off")


@dataclass(frozen=True)
class Arguments:
    """A command line taken apart.

    Attributes:
        overrides: ``key=value`` and the like; for ``help``, the words to explain.
        multirun: whether it asks for a sweep.
        shows: what to show instead of training, if anything: ``help``, ``hydra_help``,
            ``version``, ``completion``, or of the configuration ``job``, ``hydra`` or ``all``.
        package: which part of the configuration to show.
        pages: the user's own folder of pages, absolute, if any.
        resume: the folder of a run or sweep to resume, if any.
        together: whether a sweep trains its jobs side by side: ``auto``, ``on`` or ``off``.
        plugins: files and packages with parts of the user's own.
        changed_plugin: whether these may have changed since a run that is resumed began.
    """

    overrides: list[str]
    multirun: bool
    shows: str | None
    package: str | None
    pages: Path | None
    resume: str | None
    plugins: list[str]
    changed_plugin: bool = False
    together: str = "auto"


def parse(arguments: Sequence[str]) -> Arguments:
    """Take a command line apart.

    Raises:
        ConfigError: something on it is neither an option nor an override.
    """
    given = _parser().take_apart(arguments)
    if given.shows == "help":
        # Its words may be names alone.
        pages = own_pages(given.config_dir)
        return Arguments(given.words, given.multirun, given.shows, None, pages, None, given.plugin)
    for word in given.words:
        _check_override(word)
    if given.cfg is not None and given.cfg not in CFG_VALUES:
        raise ConfigError(f"--cfg {given.cfg}: choose one of {', '.join(CFG_VALUES)}")
    if given.package is not None and given.cfg is None:
        raise ConfigError("--package says which part of --cfg to show; give --cfg job with it")
    resume = [word.partition("=")[2] for word in given.words if word.startswith(RESUME)]
    together = [word.partition("=")[2] for word in given.words if word.startswith(TOGETHER)]
    _check_together(together, of_sweep=given.multirun or bool(resume))
    return Arguments(
        [word for word in given.words if not word.startswith((RESUME, TOGETHER))],
        given.multirun,
        given.cfg or given.shows,
        given.package,
        own_pages(given.config_dir),
        resume[-1] if resume else None,
        given.plugin,
        given.changed_plugin,
        together[-1] if together else "auto",
    )


def _check_together(given: Sequence[str], *, of_sweep: bool) -> None:
    for value in given:
        if value not in TOGETHER_VALUES:
            raise ConfigError(f"{TOGETHER}{value}: choose one of {', '.join(TOGETHER_VALUES)}")
        if not of_sweep:
            raise ConfigError(
                f"{TOGETHER}{value} is about the jobs of a sweep; add -m, or leave it out"
            )


def changes(overrides: Sequence[str]) -> dict[str, Any]:
    """Read the keys and values of overrides, without Hydra.

    Raises:
        ConfigError: a value cannot be read.
    """
    found = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if key in TEXTS:
            found[key] = read_text(key, value)
            continue
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{override}: the value cannot be read") from None
    return found


def _parser() -> Parser:
    # The help is made from the pages: see ``commands.help``.
    parser = Parser("sae-train", add_help=False, plugins=True, settings=True)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("-c", "--cfg")
    parser.add_argument("-p", "--package")
    parser.add_argument("--changed-plugin", action="store_true")
    for option, shows in (
        (("-h", "--help"), "help"),
        (("--hydra-help",), "hydra_help"),
        (("--version",), "version"),
        (("-sc", "--shell-completion"), "completion"),
    ):
        parser.add_argument(*option, action="store_const", dest="shows", const=shows)
    return parser


def own_pages(given: str | None) -> Path | None:
    """Give the folder of pages that a command line names, absolute; raise ConfigError if there is
    none."""
    if given is None:
        return None
    folder = full_path(given)
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {given}: no such folder")
    return folder


def _check_override(word: str) -> None:
    key, equals, value = word.partition("=")
    if word == "=" or key != key.rstrip() or (equals and value[:1] == " "):
        raise ConfigError(f"{word!r}: write key=value without spaces around the =")
    if not equals and not word.startswith("~"):
        raise ConfigError(
            f"{word!r} is not a setting; write key=value without spaces, for example "
            "model=sparse_kl or penalty.weight=0.05"
        )
    if equals and not value and key not in {"hydra.run.dir"}:
        raise ConfigError(f"{word!r} gives no value; write {key}=value without spaces around the =")

"""One parser of arguments for every command, whose errors are ``ConfigError``s."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import NoReturn, final

from sae_cli.commands.dashed import as_setting
from sae_cli.commands.version import ShowVersion
from sae_cli.core.errors import ConfigError, nearest

# argparse says these of an option without its value, and of one that takes none.
NO_VALUE = re.compile(r"argument (?:\S+/)?(\S+): expected one argument")
A_VALUE = re.compile(r"argument (?:\S+/)?(\S+): ignored explicit argument .*")


@final
class Parser(argparse.ArgumentParser):
    """Take a command line apart; options and words stand in any order.

    An option has to be spelled out. Every parser has ``--traceback``, and ``--help`` and
    ``--version`` unless a command shows these itself.

    Args:
        examples: command lines to begin with, each with what it does.
        plugins: whether it has ``--plugin``, ``given.plugin``.
        settings: whether its words are settings, which some write as options.
    """

    def __init__(
        self,
        prog: str,
        description: str = "",
        *,
        examples: Mapping[str, str] | None = None,
        add_help: bool = True,
        plugins: bool = False,
        settings: bool = False,
    ) -> None:
        width = max(map(len, examples), default=0) if examples else 0
        lines = [f"  {line:{width}}  {what}" for line, what in (examples or {}).items()]
        super().__init__(
            prog=prog,
            description=textwrap.fill(description, 79),
            epilog="\n".join(["examples:", *lines]) if lines else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=add_help,
            allow_abbrev=False,
        )
        self._settings = settings
        self.add_argument("--traceback", action="store_true", help="show where an error came from")
        if plugins:
            self.add_argument(
                "--plugin",
                action="append",
                default=[],
                metavar="FILE",
                help="a Python file or package with parts of your own; its code is run",
            )
        if add_help:
            self.add_argument(
                "--version", action=ShowVersion, help="show the versions of it, PyTorch and Python"
            )

    def take_apart(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Give the options and words of a command line.

        Raises:
            ConfigError: something on it is neither.
        """
        options = sorted(self._option_string_actions)
        for number, argument in enumerate(arguments, start=1):
            name, equals, _ = argument.partition("=")
            if not name.startswith("-") or name in options:
                continue
            if equals:
                bare = argument.lstrip("-")
                raise ConfigError(f"{argument}: settings have no dashes; write {bare}")
            if self._settings and (meant := as_setting(argument, arguments[number:])):
                raise ConfigError(f"unknown option {argument}; write {meant}")
        given, unknown = self.parse_known_intermixed_args(arguments)
        for argument in unknown:
            raise ConfigError(
                f"{argument} is not an option; the options are {', '.join(options)}"
                + nearest(argument, options)
            )
        return given

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError for what argparse has found wrong."""
        if option := NO_VALUE.fullmatch(message):
            raise ConfigError(f"{option[1]} needs a value")
        if option := A_VALUE.fullmatch(message):
            raise ConfigError(f"{option[1]} takes no value")
        raise ConfigError(f"{message}; {self.prog} --help lists what can be given")

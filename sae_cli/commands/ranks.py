"""Commands that ``torchrun`` has started: the first process runs them, the others follow it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from sae_cli.commands.exits import DONE, MACHINE, meaning
from sae_cli.core.errors import ConfigError, Stopped
from sae_cli.core.ranks.launched import read_launch
from sae_cli.core.ranks.messages import LeftAlone, Messages, connected, taking_part

BUG = 1


def run_in_ranks(run: Callable[[], int], load: Callable[[], None]) -> int:
    """Run a command that trains, and return its exit code.

    Under ``torchrun`` the first process alone prints and writes; the others take the steps of its
    trainings with it.

    Args:
        load: loads the plug-ins that the command line names.
    """
    launch = read_launch()
    if launch is None:
        return run()
    messages = Messages(launch)
    with taking_part(messages):
        if launch.rank > 0:
            return _follow(messages, load)
        try:
            return run()
        finally:
            messages.send_end()


def _follow(messages: Messages, load: Callable[[], None]) -> int:
    """Follow the first process, which says what has ended this one, and ends with its code.

    A code of this one would have ``torchrun`` stop the first process while it still saves.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    asked = False
    try:
        load()
        from sae_cli.runs.following import follow

        follow(messages, lambda error: _tell(messages, error))
        return DONE
    except LeftAlone as alone:
        code, asked = MACHINE, alone.asked
    except (Exception, Stopped) as error:
        code = _tell(messages, error)
        if code == BUG:
            traceback.print_exc()
    try:
        return DONE if messages.wait_for_end(asked=asked) else code
    except Stopped:
        return code


def _tell(messages: Messages, error: BaseException) -> int:
    """Tell the first process why this one ends; give the exit code of that."""
    if isinstance(error, Stopped):
        code, text = error.exit_code, str(error)
    else:
        assert isinstance(error, Exception)
        found, text = meaning(error)
        code = BUG if found is None else found
        text = text or f"{type(error).__name__}: {error}"
    messages.send_error(code, text)
    return code


def refuse_sweep(what: str) -> None:
    """Raise ConfigError for a sweep if ``torchrun`` has started several processes."""
    messages = connected()
    if messages is not None:
        raise ConfigError(
            f"{what}: the jobs of a sweep train in processes of their own, and torchrun has "
            f"started {messages.launch.size}; leave torchrun out, or train each job by itself"
        )

"""What a tracker is, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sae_cli.core.errors import ConfigError
from sae_cli.core.registry import Registry

TRACKERS: Registry[Tracker] = Registry("logger")


class Line(NamedTuple):
    """Values of one step, or of the evaluation after an epoch.

    Attributes:
        step: steps done so far, over all stages.
        time: when, in seconds since 1970; later than that of the line before.
        stage: the name of the stage.
        epoch: epochs done so far; None for a line of a single step.
        values: by name; finite.
    """

    step: int
    time: float
    stage: str
    epoch: int | None
    values: dict[str, float]


@dataclass(frozen=True)
class About:
    """What a tracker knows of its run.

    Attributes:
        folder: the run folder.
        store: the folder of all runs, in which stores of several runs lie.
        id: 32 hexadecimal digits, of this run alone; the same when it resumes.
        sweep: the name of its sweep, or None.
        tags: short texts by name.
        config: dotted keys and plain values.
    """

    folder: Path
    store: Path
    id: str
    sweep: str | None
    tags: dict[str, str]
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name


class Tracker(ABC):
    """Copies a run to a store; made in a process of its own, where anything may be raised.

    It is given every line of the run from the first on, also when the run resumes, and leaves out
    those that its store has.

    Attributes:
        log_every: lines of single steps come this many steps apart.
    """

    log_every: int

    @abstractmethod
    def log(self, lines: Sequence[Line]) -> None:
        """Store lines, in their order."""

    @abstractmethod
    def show(self, name: str, png: Path, line: Line) -> None:
        """Store a picture that was drawn after this line."""

    @abstractmethod
    def end(self, status: str) -> None:
        """Complete the store.

        Args:
            status: ``finished``, ``interrupted``, ``failed``, ``pruned`` or ``killed``.
        """


class Needs(NamedTuple):
    """What a tracker asks for.

    Attributes:
        modules: that must be installed, as far as this is known from its options.
        outside: an option that leads out of the folder of all runs, unless it has this value.
    """

    modules: Callable[[Mapping[str, Any]], Sequence[str]]
    outside: tuple[str, Any] | None


NEEDS: dict[str, Needs] = {}
# A tracker of a plug-in has imported what it needs, and was named on the command line itself.
NOTHING = Needs(lambda options: (), None)


def check_installed(loggers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ConfigError unless the packages of these trackers are there; none is imported.

    Args:
        loggers: name -> options.
    """
    for name, options in loggers.items():
        missing = [
            one for one in NEEDS.get(name, NOTHING).modules(options) if not _is_installed(one)
        ]
        if missing:
            raise ConfigError(
                f"logger={name} needs {' and '.join(missing)}: pip install 'sae-train[{name}]', or "
                "logger=none"
            )


def _is_installed(module: str) -> bool:
    # A folder of that name, such as W&B leaves in the current one, looks like a package.
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def outside(name: str, options: Mapping[str, Any]) -> str | None:
    """Give the option by which a tracker leads out of the folder of all runs, or None."""
    found = NEEDS.get(name, NOTHING).outside
    return found[0] if found is not None and options[found[0]] != found[1] else None

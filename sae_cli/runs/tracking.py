"""The trackers of a run: they are told of its lines, and can do nothing to it.

What they copy is a record in the run folder, so that a resumed run can tell them everything from
the first step on, whatever they had stored when it was killed.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from sae_cli.config.schema import RunConfig
from sae_cli.config.settings import LOGGER
from sae_cli.core.errors import ConfigError
from sae_cli.model.objective import Terms
from sae_cli.run_folder.files import append_line, as_json, read_json, write_atomically
from sae_cli.run_folder.layout import holds_sweep
from sae_cli.runs.metric_log import MetricLine
from sae_cli.trackers.record import FOLDER, RECORD, from_json, read, to_json
from sae_cli.trackers.started import Started
from sae_cli.trackers.tracker import About, Line, outside

# Name -> options.
Loggers = Mapping[str, Mapping[str, Any]]
IDENTITY = f"{FOLDER}/identity.json"
# How long a run waits for its trackers: those of one that was stopped are told all when it resumes.
FINISHED_SECONDS, STOPPED_SECONDS = 180.0, 20.0
# It says so where that takes more than a moment.
QUIET_SECONDS = 5.0
# Evaluations of two stages may be of the same step; a store tells them apart by their milliseconds.
APART = 0.002


def without_outside(loggers: Loggers, say: Callable[[str], None]) -> Loggers:
    """Leave out trackers that lead out of the folder of all runs.

    Only the command line may ask for them, because a folder to resume may come from anyone.
    """
    leading = {name: outside(name, options) for name, options in loggers.items()}
    for name, option in leading.items():
        if option is not None:
            key = f"{LOGGER}.{name}.{option}"
            say(
                f"{LOGGER}={name} is left out, because {key}={loggers[name][option]} of a folder "
                "is not followed; give it on the command line beside resume= to log there"
            )
    return {name: loggers[name] for name, option in leading.items() if option is None}


@final
class Tracking:
    """The trackers of a run at work.

    Args:
        config: of the run.
        loggers: name -> options of the trackers.
        folder: the run folder.
        say: shows a line.
        warn: shows a line that a quiet run shows, too.
    """

    def __init__(
        self,
        config: RunConfig,
        loggers: Loggers,
        folder: Path,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._config = config
        self._loggers = loggers
        self._folder = folder
        self._say, self._warn = say, warn
        self._started: list[Started] = []
        self._stage = ""
        self._last_time = 0.0

    def begin(self, step: int, lines: Sequence[MetricLine]) -> None:
        """Write the record up to a step, and start the trackers.

        Args:
            step: that the run is at.
            lines: of ``metrics.jsonl`` so far.
        """
        if not self._loggers:
            return
        try:
            earlier = list(read(self._folder))
            about = self._about()
            record = self._restored(earlier, step, lines)
            texts = [as_json(to_json(line), indent=None) + "\n" for line in record]
            write_atomically(self._folder / RECORD, "".join(texts).encode())
        except (OSError, ConfigError) as error:
            self._fail_all(error)
            return
        for name, options in self._loggers.items():
            try:
                self._started.append(Started({"name": name, **options}, about))
            except OSError as error:
                self._warn(_off(name, str(error)))

    def begin_stage(self, name: str) -> None:
        """Note the stage of the steps that follow."""
        self._stage = name

    def free_steps(self, step: int) -> int:
        """How many steps may go on after this one before a tracker takes one."""
        every = [self._loggers[one.name]["log_every"] for one in self._started]
        return min((n - step % n for n in every), default=sys.maxsize)

    def add_step(self, step: int, terms: Terms) -> None:
        """Record the terms of the loss of a step, if a tracker takes that step."""
        options = (self._loggers[one.name] for one in self._started)
        if any(step % one["log_every"] == 0 for one in options):
            values = {f"step/{name}": float(value.detach()) for name, value in terms.items()}
            self._add({"stage": self._stage, "step": step, **values}, self._now())

    def add_metrics(self, metrics: MetricLine) -> None:
        """Record a line of ``metrics.jsonl``, and say which trackers have failed since the last."""
        if self._started:
            self._add(metrics, self._now(APART))
            self._look()

    def end(self, status: str, given_up: Callable[[], bool]) -> None:
        """Have the trackers complete their stores.

        Args:
            status: how the run has ended.
            given_up: tells whether to wait no longer.
        """
        seconds = FINISHED_SECONDS if status == "finished" else STOPPED_SECONDS
        while self._started:
            tracker = self._started.pop()
            try:
                tracker.finish(status)
                if not tracker.wait(QUIET_SECONDS, given_up):
                    self._say(f"waiting for {LOGGER}={tracker.name} at most {seconds:g} s")
                problem = tracker.end(seconds, given_up)
            except BaseException:
                # A second Ctrl-C ends all at once.
                for one in (tracker, *self._started):
                    one.kill()
                self._started = []
                raise
            if problem is not None:
                self._warn(_off(tracker.name, problem))

    def _add(self, values: Mapping[str, Any], when: float) -> None:
        line = as_json({"time": when, **values}, indent=None)
        try:
            append_line(self._folder / RECORD, line)
        except (OSError, ConfigError) as error:
            self._fail_all(error)

    def _look(self) -> None:
        for tracker in list(self._started):
            if (problem := tracker.failure()) is not None:
                self._started.remove(tracker)
                self._warn(_off(tracker.name, problem))

    def _fail_all(self, error: Exception) -> None:
        """Give up all trackers, because the run cannot tell them anything."""
        for tracker in self._started:
            tracker.kill()
        self._started = []
        self._warn(_off(",".join(self._loggers), str(error)))

    def _now(self, apart: float = 0.0) -> float:
        """Give the time, later than that of the last line even where a clock was set back."""
        self._last_time = max(time.time(), self._last_time + apart)
        return self._last_time

    def _restored(
        self, earlier: Sequence[Line], step: int, metrics: Sequence[MetricLine]
    ) -> list[Line]:
        """Give the record that the run would have at this step, with the times of the earlier one.

        Lines of steps that the run takes again are dropped; those of evaluations are the run's own,
        and new where no tracker has been told of them.
        """
        self._last_time = max((line.time for line in earlier), default=0.0)
        times = [line.time for line in earlier if line.epoch is not None]
        lines = [line for line in earlier if line.epoch is None and line.step <= step]
        for number, values in enumerate(metrics):
            when = times[number] if number < len(times) else self._now(APART)
            line = from_json({**values, "time": when})
            lines += [] if line is None else [line]
        # Python's sort keeps the order of evaluations at the same step.
        return sorted(lines, key=lambda line: (line.step, line.epoch is not None))

    def _about(self) -> About:
        sweep = self._folder.parent if holds_sweep(self._folder.parent) else None
        settings = self._config.settings
        tags = {
            "model": settings.model,
            "dataset": str(self._config.parts["dataset"]["name"]),
            **({"experiment": settings.experiment} if settings.experiment else {}),
            **({"sweep": sweep.name} if sweep else {}),
        }
        return About(
            self._folder,
            (sweep or self._folder).parent,
            self._identity(),
            sweep.name if sweep else None,
            tags,
            dict(_flat(self._config.as_dict() | {LOGGER: {}})),
        )

    def _identity(self) -> str:
        """Give the run's own number; a copy of its folder is another run."""
        here = self._folder.stat().st_ino
        path = self._folder / IDENTITY
        if path.is_file():
            found = read_json(path)
            number = found.get("id")
            if found.get("inode") == here and isinstance(number, str) and _is_hex(number):
                return number
        number = secrets.token_hex(16)
        write_atomically(path, json.dumps({"id": number, "inode": here}).encode())
        return number


def _is_hex(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def _off(name: str, problem: str) -> str:
    return (
        f"{LOGGER}={name} is off for the rest of this run, which goes on: {problem}; the run "
        "folder has everything"
    )


def _flat(record: Mapping[str, Any], key: str = "") -> list[tuple[str, Any]]:
    """Give the dotted keys and the values of a configuration; lists of records are text."""
    found = []
    for name, value in record.items():
        inner = f"{key}.{name}" if key else name
        if isinstance(value, Mapping):
            found += _flat(value, inner)
        else:
            found.append((inner, json.dumps(value) if isinstance(value, list) else value))
    return found

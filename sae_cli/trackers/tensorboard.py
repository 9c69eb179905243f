"""TensorBoard: an event file in the run folder, made anew from the run when it resumes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from sae_cli.core.options import Count
from sae_cli.trackers.tracker import NEEDS, TRACKERS, About, Line, Needs, Tracker

NEEDS["tensorboard"] = Needs(lambda options: ("tensorboard",), None)
EVENTS = "events.out.tfevents."


@TRACKERS.register("tensorboard")
@final
class TensorBoard(Tracker):
    """Scalars, pictures, and the configuration as hyperparameters.

    Events are written by TensorBoard's own ``RecordWriter`` in this very thread, so that an error
    is raised where it happens.
    """

    def __init__(self, about: About, *, log_every: Count = 50) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.log_every = log_every
        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        # Events of a resumed run would come after those of steps that it takes again.
        for earlier in about.folder.glob(f"{EVENTS}*"):
            earlier.unlink()
        now = time.time()
        name = f"{EVENTS}{int(now)}.{socket.gethostname()}"
        self._file = (about.folder / name).open("wb")
        self._writer = RecordWriter(self._file)
        self._write(self._event(wall_time=now, file_version="brain.Event:2"))
        plain = {
            key: value if isinstance(value, int | float) else str(value)
            for key, value in about.config.items()
        }
        hparams = summary_v2.hparams_pb(plain, trial_id=about.name)
        summary = self._summary.FromString(hparams.SerializeToString())
        self._write(self._event(wall_time=now, summary=summary))
        self._writer.flush()

    def log(self, lines: Sequence[Line]) -> None:
        for line in lines:
            values = [
                self._summary.Value(tag=tag, simple_value=value)
                for tag, value in line.values.items()
            ]
            self._add(line, values)
        self._writer.flush()

    def show(self, name: str, png: Path, line: Line) -> None:
        content = png.read_bytes()
        # The header of a PNG ends with its width and height.
        width, height = struct.unpack(">II", content[16:24])
        image = self._summary.Image(
            height=height, width=width, colorspace=4, encoded_image_string=content
        )
        self._add(line, [self._summary.Value(tag=f"pictures/{name}", image=image)])
        self._writer.flush()

    def end(self, status: str) -> None:
        self._writer.close()

    def _add(self, line: Line, values: Sequence[Any]) -> None:
        summary = self._summary(value=values)
        self._write(self._event(wall_time=line.time, step=line.step, summary=summary))

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())

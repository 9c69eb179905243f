"""The metrics of a run: one log, and listeners to each new line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from sae_cli.run_folder.files import as_json

MetricLine = Mapping[str, Any]
# Every line has these keys; all others are metrics.
KEYS = {"stage": str, "epoch": int, "step": int}


@final
class MetricLog:
    """The lines of ``metrics.jsonl``.

    Attributes:
        lines: each as it was appended.
        listeners: called with each new line.
    """

    def __init__(self) -> None:
        self.lines: list[MetricLine] = []
        self.listeners: list[Callable[[MetricLine], None]] = []
        self._texts: list[str] = []

    def append(self, line: MetricLine) -> None:
        """Add a line and tell the listeners."""
        self.lines.append(line)
        self._texts.append(as_json(line, indent=None) + "\n")
        for listener in self.listeners:
            listener(line)

    @property
    def text(self) -> str:
        """All lines, as the file holds them."""
        return "".join(self._texts)

    def restore(self, text: str, stages: Sequence[str]) -> None:
        """Replace the lines by those of an earlier log, without telling the listeners.

        Args:
            stages: the names that its lines may have.

        Raises:
            ValueError: a line does not hold metrics.
        """
        texts = text.splitlines(keepends=True)
        lines = [json.loads(line) for line in texts]
        if not lines or not all(_is_line(line) and line["stage"] in stages for line in lines):
            raise ValueError("its lines of metrics are not right")
        self.lines, self._texts = list(lines), texts


def _is_line(line: object) -> bool:
    """Tell whether a value from a file is a line of metrics."""
    return (
        isinstance(line, dict)
        and line.keys() >= KEYS.keys()
        and all(isinstance(value, KEYS.get(key, int | float | None)) for key, value in line.items())
    )

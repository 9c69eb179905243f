"""The progress bar."""

from __future__ import annotations

import io
import threading
import warnings
from typing import Never

import pytest

from sae_cli.core.bar import Bar, bars_shown


def test_a_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> Never:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    shown = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(Bar(range(3), "counting", file=shown)) == [0, 1, 2]
    assert "3/3" in shown.getvalue()


def test_bars_are_hidden_inside_alone() -> None:
    for shown in (False, True):
        stream = io.StringIO()
        with bars_shown(shown):
            list(Bar(range(3), "counting", file=stream))
        assert ("3/3" in stream.getvalue()) == shown
    assert Bar.shown

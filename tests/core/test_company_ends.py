"""Calls side by side that a signal ends, wherever each of them is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.core import company
from sae_cli.core.company import meet, run_side_by_side, wait_for
from sae_cli.core.errors import Stopped
from sae_cli.core.signals import stopping_at_once
from sae_cli.runs.train import train
from tests.configured import configured


def test_calls_that_are_ended_clean_up_to_the_end(tmp_path: Path) -> None:
    """They wait for the disk once more, though nobody switches to them any more."""

    def interrupt(brought: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    def call(number: int, begin: Callable[[], object]) -> None:
        try:
            begin()
        finally:
            wait_for((tmp_path / str(number)).touch)
            meet(interrupt_no_more, number)
            (tmp_path / f"{number} cleaned up").touch()

    def interrupt_no_more(brought: Sequence[int]) -> Sequence[int]:
        return brought

    begins: list[Callable[[], object]] = [partial(meet, interrupt, 1), partial(meet, interrupt, 2)]
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([partial(call, i, begin) for i, begin in enumerate(begins)])
    assert len([*tmp_path.iterdir()]) == 4


@pytest.mark.parametrize("when", ["meeting", "waiting"])
def test_a_second_signal_while_none_is_at_work(when: str) -> None:
    ended: list[int] = []

    def at_once(brought: Sequence[int]) -> Sequence[int]:
        os.kill(os.getpid(), signal.SIGINT)
        return brought

    def call(number: int) -> None:
        try:
            if when == "meeting":
                meet(at_once, number)
            else:
                wait_for(partial(os.kill, os.getpid(), signal.SIGINT))
                meet(at_once, number)
        finally:
            ended.append(number)

    with pytest.raises(Stopped), stopping_at_once():
        run_side_by_side([partial(call, number) for number in range(3)])
    assert sorted(ended) == [0, 1, 2]


def test_calls_switch_with_nothing_set_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the thread has set for it would be set for the others, too."""

    switches = []

    @contextmanager
    def watched() -> Iterator[None]:
        switches.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        assert np.geterr()["invalid"] == "warn"
        yield

    for name in ("meet", "wait_for"):
        own = getattr(company._Company, name)

        def patched(*given: object, own: Callable[..., object] = own) -> object:
            with watched():
                return own(*given)

        monkeypatch.setattr(company._Company, name, patched)
    words = ("dataset.test=1500", "epochs=1", "device=cpu", "quiet=true", "report=false")
    configs = [
        configured(*words, "model=stacked", "schedule.layer_epochs=[1,1]"),
        configured(*words, "model=vae"),
    ]

    def call(number: int) -> None:
        train(configs[number], tmp_path / str(number), [])

    run_side_by_side([partial(call, 0), partial(call, 1)])
    assert len(switches) > 50 and all(switches)

"""A run whose data are larger than the memory."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from sae_cli.datasets import dataset
from tests.conftest import SMALL
from tests.forked import Forked

KEPT = ExitStack()


@pytest.fixture
def forked(tmp_path: Path) -> Forked:
    return Forked(tmp_path)


def as_if_too_large() -> None:
    patch = KEPT.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(dataset, "too_large", lambda size, device: True)


def test_it_says_how_long_it_waited_for_them(forked: Forked) -> None:
    said = r"^data: streamed; \d+% of the training was waiting for them$"
    streamed = forked(*SMALL, before=as_if_too_large)
    assert (streamed.code, len(re.findall(said, streamed.out, re.M))) == (0, 1)
    assert not re.search(said, forked(*SMALL).out, re.M)

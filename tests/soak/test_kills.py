"""Many kills of many runs; without pytest, tests/soak/kill_and_resume.py kills as many as asked."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.conftest import fresh_seed
from tests.soak.kill_and_resume import soak


@pytest.mark.soak
def test_killed_runs_come_out_the_same(tmp_path: Path) -> None:
    *_, wrong = soak(200, Random(fresh_seed()), tmp_path)
    assert not wrong

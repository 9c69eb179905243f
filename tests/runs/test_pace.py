"""What a sweep says of jobs that train side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.runs.sweeps.pace import Pace
from sae_cli.runs.sweeps.sweep import sweep_of
from tests.conftest import Configure


def test_epochs_are_counted_and_nothing_is_said_twice(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [["seed=0"], ["seed=1"]]
    sweep = sweep_of(tmp_path, overrides, [configure("epochs=3", *own) for own in overrides])
    rows = [{"job": job.folder, "status": "running"} for job in sweep.jobs]
    pace = Pace(sweep, rows)
    said = []
    # The first line of a job is of its weights before training.
    for n_lines in (0, 1, 3, 4, 4):
        for folder in sweep.folders:
            folder.mkdir(exist_ok=True)
            (folder / "metrics.jsonl").write_text("{}\n" * n_lines)
        pace.tell(rows)
        said.append(capsys.readouterr().out.removeprefix("0 of 2 jobs done; "))
    pace.end()
    assert said[:2] == ["epoch 0 of 6\n", ""]
    assert said[2].startswith("epoch 4 of 6; about ")
    assert said[3:] == ["epoch 6 of 6; evaluating and drawing\n", ""]

"""What a sweep says of jobs that train side by side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.runs.sweeps.pace import Pace, epochs_of
from sae_cli.runs.sweeps.sweep import sweep_of
from tests.conftest import Configure


@pytest.mark.parametrize(
    "words",
    [
        ("model=ae", "epochs=7"),
        ("model=stacked", "architecture.hidden_sizes=[30,20]", "schedule=greedy"),
        ("model=stacked", "schedule=greedy", "schedule.layer_epochs=[3,4]"),
        ("model=conv", "schedule=greedy", "architecture.channels=[4,8,8]"),
        ("model=drsae", "head.epochs=2", "head.fine_tune_epochs=5"),
        (
            "model=ae",
            "schedule=none",
            "head=classifier",
            "head.epochs=0",
            "head.fine_tune_epochs=3",
        ),
    ],
    ids=" ".join,
)
def test_epochs_are_those_of_all_stages(configure: Configure, words: tuple[str, ...]) -> None:
    config = configure("dataset.test=1000", *words)
    training = build_training(config, build_parts(config), read_dataset(config))
    assert epochs_of(config) == sum(stage.epochs for stage in training.stages)


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
    assert re.fullmatch(r"epoch 4 of 6; about \d+ s of training left\n", said[2])
    assert said[3:] == ["epoch 6 of 6; evaluating and drawing\n", ""]

"""Sweeps of many kinds leave side by side what they leave one by one, in every file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import slow
from tests.faults.sweeps import SMALL, differing
from tests.forked import Forked

FOUR = ("-m", *SMALL, "checkpoint_steps=3", "epochs=3")
KINDS = {
    "epochs": ("model=sparse_kl", "epochs=1,2,4", "batch_size=8,97"),
    "stages": ("model=stacked", "schedule.layer_epochs=[1,3],[2,1]", "seed=0,1"),
    "classifier": ("model=stacked", "head=classifier", "seed=0,1", "epochs=2"),
    "each step": ("model=denoising", "checkpoint_steps=1", "log_steps=1", "seed=0,1,2"),
    "quiet": ("model=vae,sparse_l1", "quiet=true", "seed=0,1"),
    "profile": ("model=ae", "profile=true", "seed=0,1"),
    "trackers": ("model=ae", "logger=tensorboard", "seed=0,1"),
    "pictures": ("model=sparse_kl,conv", "pictures=true", "seed=0,1", "epochs=1"),
}


@pytest.mark.parametrize("kind", ["stages", *slow(sorted({*KINDS} - {"stages"}))])
def test_sweeps_of_many_kinds(kind: str, tmp_path: Path) -> None:
    forked = Forked(tmp_path)
    words = (*FOUR, *KINDS[kind])
    done = [
        forked(*words, f"sweep.together={together}", f"hydra.sweep.dir={together}")
        for together in ("on", "off")
    ]
    assert [(one.code, one.err) for one in done] == [(0, "")] * 2
    assert ("side by side" in done[0].out) == (kind not in {"quiet", "profile"})
    own = ("trackers/", "events.out.tfevents", "profiles/")
    names = differing(forked.cwd / "on", forked.cwd / "off")
    assert [name for name in names if not any(part in name for part in own)] == []

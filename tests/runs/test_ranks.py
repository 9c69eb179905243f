"""Runs that several processes train together: as a single process would, and the same each time.

The processes are real ones, connected by gloo; ``test_torchrun.py`` has ``torchrun`` start them.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli.core.ranks.launched import Launch, read_launch
from sae_cli.core.ranks.together import Together, trained_together
from sae_cli.datasets.inputs import Inputs
from sae_cli.model.activations.topk import _among_all
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import read_metrics
from tests.conftest import slow
from tests.faults.causes import KEPT
from tests.faults.runs import at_step
from tests.forked import Done, Forked
from tests.killing import results
from tests.ranks import run_ranks, start_ranks

# The run has 97 digits: three batches of 32, and one of a single row, for two processes or more.
SMALL = (
    *("dataset.test=1500", "epochs=2", "progress=false", "pictures=false", "report=false"),
    *("device=cpu", "device.threads=1"),
)
SOON = ("revival.every=3", "revival.dead_after=20")
# Sums over examples, means of a batch, noise of a batch, several stages, a weight that is tuned.
KINDS = {
    "sparse_kl": ("model=sparse_kl",),
    "denoising": ("model=denoising",),
    "batch topk": ("model=batch_topk", "activation.k=2", "revival=auxk", "revival.dead_after=20"),
    "classifier": ("model=ae", "head=classifier", "head.epochs=2", "head.n_labels=30"),
    "tuned": ("model=sparse_l1", "penalty.target_l0=5"),
    "resample": ("model=topk", "activation.k=2", "revival=resample", *SOON),
    "whole set": ("model=sparse_kl", "optimizer=lbfgs", "optimizer.iterations=5"),
}
REST = {
    "whole set of labels": (
        *("model=ae", "optimizer=lbfgs", "optimizer.iterations=5", "penalty=l1"),
        *("head=classifier", "head.epochs=2", "head.n_labels=30"),
    ),
    "vae": ("model=vae",),
    "squared target": ("model=sparse_target", "clip_norm=0.1"),
    "l1": ("model=sparse_l1",),
    "greedy": ("model=stacked", "schedule=greedy", "penalty=l1"),
    "topk": ("model=topk",),
    "jumprelu": ("model=jumprelu",),
    "gated": ("model=gated",),
    "conv": ("model=conv",),
    "psd": ("model=psd",),
    "group": ("model=group_sparse",),
    "matryoshka": ("model=matryoshka",),
}


MORE = [
    pytest.param(kind, n, marks=pytest.mark.slow)
    for kind, n in [*((kind, 2) for kind in REST), *((kind, 3) for kind in KINDS)]
]


def in_float64() -> None:
    """Have weights, data and sums be of float64; there is no such setting."""
    torch.set_default_dtype(torch.float64)
    apply_ = Inputs.apply_
    patch = KEPT.enter_context(pytest.MonkeyPatch.context())

    def copied(self: Tensor) -> Tensor:
        # Metrics write into what they have made of float32.
        return self.to(torch.float64, copy=True)

    def doubled(self: Inputs, values: Tensor) -> Tensor:
        return apply_(self, values).double()

    patch.setattr(Tensor, "double", copied)
    patch.setattr(Inputs, "apply_", doubled)


def compare(folder: Path, tolerance: float) -> None:
    """Compare every term of the loss of the runs ``one`` and ``many``."""
    one, many = read_metrics(folder / "one"), read_metrics(folder / "many")
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys()
        terms = [key for key in a if key.split("/")[-1] in TERMS]
        assert {"val/loss"} < {*terms}
        np.testing.assert_allclose([b[key] for key in terms], [a[key] for key in terms], tolerance)


TERMS = {
    *("loss", "reconstruction", "penalty", "penalty_raw", "prediction", "gate", "auxk", "head"),
    *("revived", "penalty_weight"),
}


def run_all(folder: Path, n: int, *words: str, before: Any = None) -> None:
    """Run the same in one process, and in several."""
    with Forked(folder).start(*words, "hydra.run.dir=one", before=before) as started:
        assert started.wait().code == 0
    with start_ranks(folder, n, *words, "hydra.run.dir=many", before=[before] * n) as all_started:
        for done in [one.wait() for one in all_started]:
            assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(("kind", "n"), [*((kind, 2) for kind in KINDS), *MORE])
def test_losses_are_those_of_one_process_in_float64(kind: str, n: int, tmp_path: Path) -> None:
    run_all(tmp_path, n, *SMALL, *(KINDS | REST)[kind], before=in_float64)
    compare(tmp_path, 1e-6)
    if kind == "batch topk":
        last = read_metrics(tmp_path / "many")[-1]
        assert last["train/auxk"] > 0 and last["train/revived"] > 0
    if kind == "resample":
        assert any(line.get("train/revived", 0) > 0 for line in read_metrics(tmp_path / "many"))


@pytest.mark.parametrize("n", [2, *slow([3])])
def test_losses_are_those_of_one_process_in_float32(n: int, tmp_path: Path) -> None:
    """Batches of 50 are no multiple of 3; the last has 47 rows."""
    run_all(tmp_path, n, *SMALL, "model=sparse_kl", "batch_size=50", "epochs=1")
    compare(tmp_path, 1e-4)


def test_a_process_without_any_of_the_largest_codes(tmp_path: Path) -> None:
    """Of batches of 4 rows only 4 codes are kept, so that often one of two has all."""
    words = ("model=batch_topk", "activation.k=1", "revival=none", "batch_size=4", "epochs=1")
    run_all(tmp_path, 2, *SMALL, *words, before=in_float64)
    compare(tmp_path, 1e-6)


def test_twice_the_same_bits_and_one_that_speaks(tmp_path: Path) -> None:
    done = run_ranks(tmp_path, 2, *SMALL, "model=denoising", "hydra.run.dir=first")
    assert "1 thread in each of 2 processes" in done[0].out
    assert done[1] == Done(0, "", "")
    assert [
        one.code
        for one in run_ranks(tmp_path, 2, *SMALL, "model=denoising", "hydra.run.dir=second")
    ] == [0, 0]
    assert results(tmp_path / "first") == results(tmp_path / "second")
    assert read_json(tmp_path / "first" / "environment.json")["processes"] == 2
    # Nothing is left of the second process, which has chosen no folder.
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def kill_at_step_5() -> None:
    KEPT.enter_context(at_step(5, lambda: os.kill(os.getpid(), signal.SIGKILL)))


RESUMED = ["denoising", "resample", "whole set"]


@pytest.mark.parametrize("kind", RESUMED)
def test_killed_and_resumed(kind: str, tmp_path: Path) -> None:
    """On as many processes to the same bits; on another number near them, and it says so."""
    words = (*SMALL, *KINDS[kind], "checkpoint_steps=2")
    run_ranks(tmp_path, 2, *words, "hydra.run.dir=whole")
    for name in ("same", "other"):
        before = [kill_at_step_5]
        with start_ranks(tmp_path, 2, *words, f"hydra.run.dir={name}", before=before) as started:
            assert started[0].wait().code == -signal.SIGKILL
            # As torchrun ends the rest.
            started[1].send_signal(signal.SIGTERM)
            assert (started[1].wait().code, started[1].wait().err) == (4, "")
    done = run_ranks(tmp_path, 2, "resume=same")
    assert [one.code for one in done] == [0, 0]
    assert "resumed at step 4" in done[0].out and "changed since" not in done[0].out
    assert results(tmp_path / "same") == results(tmp_path / "whole")
    alone = Forked(tmp_path)("resume=other")
    assert "changed since the run began: processes: 2 then, 1 now; the last bits may differ" in (
        alone.out
    )
    (tmp_path / "whole").rename(tmp_path / "one")
    (tmp_path / "other").rename(tmp_path / "many")
    compare(tmp_path, 1e-4)


def test_a_run_of_two_is_reproduced(tmp_path: Path) -> None:
    """By two to the bit; by one with a word on the difference."""
    run_ranks(tmp_path, 2, *SMALL, "model=sparse_kl", "hydra.run.dir=run")
    first, second = run_ranks(tmp_path, 2, "run", "--into", "again", name="sae_reproduce")
    assert (first.code, second) == (0, Done(0, "", ""))
    assert "identical: run and again" in first.out
    alone = Forked(tmp_path, "sae_reproduce")("run", "--into", "alone")
    assert alone.code == 1
    assert "changed since: processes: 2 then, 1 now" in alone.out


def test_data_that_are_streamed(tmp_path: Path) -> None:
    """Rows of shards, which are read for each batch."""
    (tmp_path / "shards").mkdir()
    rows = np.random.default_rng(0).random((70, 6), np.float32)
    for i in range(2):
        np.save(tmp_path / "shards" / f"{i}.npy", rows[i::2])
    words = (*SMALL, "model=ae", "dataset=array", "dataset.path=shards", "batch_size=9")
    run_all(tmp_path, 2, *[word for word in words if not word.startswith("dataset.test")])
    compare(tmp_path, 1e-4)


def test_the_rows_of_a_batch_are_shared_out() -> None:
    def rows_of(n: int, size: int) -> list[list[int]]:
        found = []
        for rank in range(size):
            one = Together.__new__(Together)
            one.rank, one.size = rank, size
            found.append([*range(n)][one.rows(n)])
        return found

    assert rows_of(7, 3) == [[0, 1, 2], [3, 4], [5, 6]]
    assert rows_of(6, 2) == [[0, 1, 2], [3, 4, 5]]
    assert rows_of(2, 3) == [[0, 1]] * 3


@pytest.mark.parametrize("n", [1, 3, 5, 7, 8])
def test_no_more_codes_are_kept_than_of_one_process(n: int) -> None:
    """Of equal codes those of the first process are kept first."""
    codes = [torch.tensor([3.0, 2.0, 2.0, 1.0]), torch.tensor([2.0, 2.0, 4.0, 1.0])]
    largest = [one.topk(min(n, 4)).values for one in codes]
    padded = [torch.nn.functional.pad(one, (0, n - len(one)), value=-torch.inf) for one in largest]
    order = np.lexsort([np.arange(8), -np.concatenate(codes)])[:n]
    kept = []
    for rank in range(2):
        one = Together.__new__(Together)
        one.rank, one.size = rank, 2
        with pytest.MonkeyPatch.context() as patch, trained_together(one):
            patch.setattr(Together, "gather", lambda self, values: [one[None] for one in padded])
            kept.append(largest[rank][_among_all(largest[rank][None], n)[0]].tolist())
    expected = [np.concatenate(codes)[order[order // 4 == rank]] for rank in range(2)]
    assert [sorted(one) for one in kept] == [sorted(one.tolist()) for one in expected]


def test_only_torchrun_makes_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster sets the same variables for any command."""
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert read_launch() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert read_launch() == Launch(1, 2, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert read_launch() is None


def test_a_cluster_without_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Forked(tmp_path)(*SMALL, "epochs=1", "hydra.run.dir=run").code == 0
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 1

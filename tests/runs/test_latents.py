"""Runs whose latents several processes hold: as a single process would, and the same each time.

The processes are real ones, connected by gloo; ``test_torchrun.py`` has ``torchrun`` start them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sae_cli.run_folder.files import read_json
from tests.conftest import slow
from tests.faults.causes import KEPT
from tests.faults.runs import at_step
from tests.forked import Before, Done, Forked
from tests.killing import results
from tests.ranks import run_ranks, start_ranks
from tests.runs.test_ranks import SMALL, compare, in_float64

# All that is a word of several processes; in one it is refused.
LATENTS = "device.share=latents"
WIDE = ("architecture.n_latents=50",)
KINDS = {
    "topk": ("model=topk", "activation.k=3"),
    "batch topk": ("model=batch_topk", "activation.k=2"),
    "jumprelu": ("model=jumprelu", "clip_norm=0.1"),
    "l1": ("model=sparse_l1",),
}
REST = {
    "gated": ("model=gated",),
    "tuned": ("model=jumprelu", "penalty.target_l0=5"),
    "tanh": ("model=jumprelu", "penalty=tanh", "penalty.pre_code_weight=0.1"),
    "kl": ("model=sparse_kl",),
    "tied": ("model=sparse_l1", "architecture.tied=true", "corruption=gaussian"),
}
MORE = [
    pytest.param(kind, n, marks=pytest.mark.slow)
    for kind, n in [*((kind, 2) for kind in REST), *((kind, 3) for kind in KINDS)]
]


def run_both(folder: Path, n: int, *words: str, before: Before | None = None) -> None:
    """Run the same in one process, and in several that hold some of the latents each."""
    with Forked(folder).start(*words, "hydra.run.dir=one", before=before) as started:
        assert started.wait().code == 0
    many = (*words, LATENTS, "hydra.run.dir=many")
    with start_ranks(folder, n, *many, before=[before] * n) as all_started:
        for done in [one.wait() for one in all_started]:
            assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(("kind", "n"), [*((kind, 2) for kind in KINDS), *MORE])
def test_losses_are_those_of_one_process_in_float64(kind: str, n: int, tmp_path: Path) -> None:
    run_both(tmp_path, n, *SMALL, *(KINDS | REST)[kind], *WIDE, before=in_float64)
    compare(tmp_path, 1e-6)


@pytest.mark.parametrize("kind", [*slow(["batch topk", "gated"]), "topk"])
def test_losses_are_those_of_one_process_in_float32(kind: str, tmp_path: Path) -> None:
    run_both(tmp_path, 2, *SMALL, *(KINDS | REST)[kind], *WIDE, "epochs=1")
    compare(tmp_path, 1e-4)
    one, many = (read_json(tmp_path / name / "summary.json") for name in ("one", "many"))
    for key in ("n_latents", "n_parameters", "val/l0", "val/dead_latents", "active_above"):
        assert many[key] == one[key]
    for key in ("val/fvu", "test/mse", "test/mean_activity"):
        assert many[key] == pytest.approx(one[key], rel=1e-4)


def run_latents(folder: Path, *words: str) -> list[Done]:
    return run_ranks(folder, 2, *SMALL, "model=topk", *WIDE, LATENTS, *words)


def test_twice_the_same_bits_and_one_that_speaks(tmp_path: Path) -> None:
    done = run_latents(tmp_path, "hydra.run.dir=first")
    assert "1 thread in each of 2 processes, which hold some of the latents each" in done[0].out
    assert done[1] == Done(0, "", "")
    assert [one.code for one in run_latents(tmp_path, "hydra.run.dir=second")] == [0, 0]
    assert results(tmp_path / "first") == results(tmp_path / "second")


def kill_at_step_5() -> None:
    KEPT.enter_context(at_step(5, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def test_killed_and_resumed(tmp_path: Path) -> None:
    """On as many processes to the same bits; on one near them, and it says so."""
    run_latents(tmp_path, "checkpoint_steps=2", "hydra.run.dir=whole")
    words = (*SMALL, "model=topk", *WIDE, LATENTS, "checkpoint_steps=2")
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
    assert alone.code == 0
    assert "changed since the run began: processes: 2 then, 1 now; the last bits may differ" in (
        alone.out
    )
    (tmp_path / "whole").rename(tmp_path / "one")
    (tmp_path / "other").rename(tmp_path / "many")
    compare(tmp_path, 1e-4)
    # What is saved is that of a run of one process, and three resume it.
    done = run_ranks(tmp_path, 3, "resume=same", "epochs=3")
    assert [one.code for one in done] == [0, 0, 0]
    assert "processes: 2 then, 3 now" in done[0].out


def signal_at_step_3() -> None:
    KEPT.enter_context(at_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))


@pytest.mark.parametrize("rank", [0, *slow([1])])
def test_a_signal_to_one_of_them(rank: int, tmp_path: Path) -> None:
    """All stop with a checkpoint, and the run ends as if it had not been stopped."""
    words = (*SMALL, "model=topk", *WIDE, LATENTS)
    before = [None] * rank + [signal_at_step_3]
    with start_ranks(tmp_path, 2, *words, "hydra.run.dir=run", before=before) as started:
        first, second = (one.wait() for one in started)
    assert (first.code, second) == (128 + signal.SIGTERM, Done(0, "", ""))
    run_ranks(tmp_path, 2, "resume=run")
    run_latents(tmp_path, "hydra.run.dir=whole")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_refusals_are_one_line(tmp_path: Path) -> None:
    alone = Forked(tmp_path)(*SMALL, "model=topk", LATENTS)
    assert (alone.code, alone.error) == (
        2,
        "error: device.share=latents shares the latents out to several processes, and this is one; "
        "start it with torchrun, or give device.share=rows",
    )
    first, second = run_latents(tmp_path, "revival=auxk")
    assert (first.code, second) == (2, Done(0, "", ""))
    assert first.error == (
        "error: revival=auxk needs all latents in each process, and device.share=latents gives "
        "each some of them; choose revival=none, or device.share=rows"
    )
    assert [*tmp_path.iterdir()] == []

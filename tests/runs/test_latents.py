"""Runs whose latents several processes hold: as a single process would, and the same each time.

The processes are real ones, connected by gloo; ``test_torchrun.py`` has ``torchrun`` start them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from sae_cli import load_run
from sae_cli.run_folder.files import read_json
from tests.conftest import slow
from tests.faults.causes import KEPT
from tests.faults.rank_causes import at_own_step, send
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
}
RUN = (*SMALL, "model=topk", *WIDE, LATENTS)
REST = {
    "gated": ("model=gated",),
    "l1": ("model=sparse_l1",),
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


@pytest.mark.parametrize("kind", slow(["topk", "batch topk", "gated"]))
def test_losses_are_those_of_one_process_in_float32(kind: str, tmp_path: Path) -> None:
    run_both(tmp_path, 2, *SMALL, *(KINDS | REST)[kind], *WIDE, "epochs=1")
    compare(tmp_path, 1e-4)
    one, many = (read_json(tmp_path / name / "summary.json") for name in ("one", "many"))
    for key in ("n_latents", "n_parameters", "val/l0", "val/dead_latents", "active_above"):
        assert many[key] == one[key]
    for key in ("val/fvu", "test/mse", "test/mean_activity"):
        assert many[key] == pytest.approx(one[key], rel=1e-3)


def run_latents(folder: Path, *words: str) -> list[Done]:
    return run_ranks(folder, 2, *RUN, *words)


def test_twice_the_same_bits_and_one_that_speaks(tmp_path: Path) -> None:
    done = run_latents(tmp_path, "hydra.run.dir=first")
    assert "1 thread in each of 2 processes, which hold some of the latents each" in done[0].out
    assert done[1] == Done(0, "", "")
    assert [one.code for one in run_latents(tmp_path, "hydra.run.dir=second")] == [0, 0]
    assert results(tmp_path / "first") == results(tmp_path / "second")


def kill_at_step_5() -> None:
    KEPT.enter_context(at_step(5, lambda: os.kill(os.getpid(), signal.SIGKILL)))


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path) -> None:
    """On as many processes to the same bits; on other numbers near them, and it says so."""
    run_latents(tmp_path, "checkpoint_steps=2", "hydra.run.dir=one")
    words = (*RUN, "checkpoint_steps=2", "hydra.run.dir=same")
    with start_ranks(tmp_path, 2, *words, before=[kill_at_step_5]) as started:
        assert started[0].wait().code == -signal.SIGKILL
        # As torchrun ends the rest.
        started[1].send_signal(signal.SIGTERM)
        assert (started[1].wait().code, started[1].wait().err) == (4, "")
    for name in ("many", "three"):
        shutil.copytree(tmp_path / "same", tmp_path / name)
    done = run_ranks(tmp_path, 2, "resume=same")
    assert [one.code for one in done] == [0, 0]
    assert "resumed at step 4" in done[0].out and "changed since" not in done[0].out
    assert results(tmp_path / "same") == results(tmp_path / "one")
    alone = Forked(tmp_path)("resume=many")
    assert alone.code == 0
    assert "changed since the run began: processes: 2 then, 1 now; the last bits may differ" in (
        alone.out
    )
    compare(tmp_path, 1e-4)
    done = run_ranks(tmp_path, 3, "resume=three")
    assert [one.code for one in done] == [0, 0, 0]
    assert "processes: 2 then, 3 now" in done[0].out
    shutil.rmtree(tmp_path / "many")
    (tmp_path / "three").rename(tmp_path / "many")
    compare(tmp_path, 1e-4)


@pytest.mark.parametrize("rank", slow([0, 1]))
def test_a_signal_to_one_of_them(rank: int, tmp_path: Path) -> None:
    """All stop with a checkpoint, and the run ends as if it had not been stopped."""
    before = [None] * rank + [partial(at_own_step, 3, partial(send, signal.SIGTERM))]
    with start_ranks(tmp_path, 2, *RUN, "hydra.run.dir=run", before=before) as started:
        first, second = (one.wait() for one in started)
    assert (first.code, second) == (128 + signal.SIGTERM, Done(0, "", ""))
    # A signal to the second is known to the first at its next step.
    assert f"the last checkpoint is of step {3 + rank};" in first.error
    run_ranks(tmp_path, 2, "resume=run")
    run_latents(tmp_path, "hydra.run.dir=whole")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def no_memory() -> None:
    raise MemoryError


FAULTS = {
    "out of memory": (partial(at_own_step, 3, no_memory), "error: process 1 of 2: out of memory"),
    "killed": (partial(at_own_step, 3, partial(send, signal.SIGKILL)), "another process of this"),
}


@pytest.mark.parametrize("fault", slow(FAULTS))
def test_a_fault_of_the_second_in_a_step(fault: str, tmp_path: Path) -> None:
    cause, said = FAULTS[fault]
    with start_ranks(tmp_path, 2, *RUN, "hydra.run.dir=run", before=[None, cause]) as started:
        first, _ = (one.wait() for one in started)
    assert first.code == 4
    assert said in first.error
    assert read_json(tmp_path / "run" / "status.json")["status"] == "failed"


@pytest.mark.slow
def test_a_training_that_diverges(tmp_path: Path) -> None:
    words = ("optimizer=sgd", "optimizer.learning_rate=1e30", "hydra.run.dir=run")
    first, second = run_latents(tmp_path, *words)
    assert (first.code, second) == (3, Done(0, "", ""))
    assert "became infinite or NaN" in first.error


@pytest.mark.slow
def test_a_run_of_two_is_reproduced(tmp_path: Path) -> None:
    """By two to the bit; by one with a word on the difference."""
    run_latents(tmp_path, "hydra.run.dir=run")
    first, second = run_ranks(tmp_path, 2, "run", "--into", "again", name="sae_reproduce")
    assert (first.code, second) == (0, Done(0, "", ""))
    assert "identical: run and again" in first.out
    alone = Forked(tmp_path, "sae_reproduce")("run", "--into", "alone")
    assert "changed since: processes: 2 then, 1 now" in alone.out


def test_the_folder_is_that_of_any_run(tmp_path: Path) -> None:
    """Its model has all latents, and is loaded, evaluated and drawn as any other."""
    words = [word for word in RUN if word != "pictures=false"]
    done = run_ranks(tmp_path, 2, *words, "hydra.run.dir=run")
    assert "pictures: none, because they are drawn of a whole dictionary" in done[0].out
    run = load_run(tmp_path / "run")
    summary = read_json(tmp_path / "run" / "summary.json")
    assert (run.n_latents, run.autoencoder.n_held) == (50, 50)
    assert sum(p.numel() for p in run.autoencoder.parameters()) == summary["n_parameters"]
    assert load_run(tmp_path / "run", checkpoint="best").n_latents == 50
    assert run.plot("reconstructions") is not None
    assert Forked(tmp_path, "sae_evaluate")("run").code == 0
    (found,) = json.loads((tmp_path / "run.evaluation.json").read_text())["runs"]
    for name in ("mse", "fvu", "l0", "mean_activity", "dead_latents"):
        assert found["metrics"][name] == pytest.approx(summary[f"test/{name}"], rel=1e-5)


def test_refusals_are_one_line(tmp_path: Path) -> None:
    alone = Forked(tmp_path)(*SMALL, "model=topk", LATENTS)
    assert (alone.code, alone.error) == (
        2,
        "error: device.share=latents shares the latents out to several processes, and this is one; "
        "start it with torchrun, or give device.share=rows",
    )
    swept = Forked(tmp_path)(*SMALL, "model=topk", LATENTS, "-m", "seed=1,2")
    assert (swept.code, swept.error) == (
        2,
        "error: device.share=latents shares the latents out to several processes, and each job of "
        "a sweep trains in one; give device.share=rows, or train each by itself with torchrun",
    )
    first, second = run_latents(tmp_path, "revival=auxk")
    assert (first.code, second) == (2, Done(0, "", ""))
    assert first.error == (
        "error: revival=auxk needs all latents in each process, and device.share=latents gives "
        "each some of them; choose revival=none, or device.share=rows"
    )
    assert [*tmp_path.iterdir()] == []


OWN = """
import torch
from torch import Tensor
from sae_cli.plugins import (
    ACTIVATIONS, PENALTIES, ExamplePenalty, NonNegative, OfEachLatent, Pointwise
)


class Each(ExamplePenalty, OfEachLatent):
    def __init__(self, *, weight: NonNegative = 0.1) -> None:
        super().__init__(weight=weight)

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum(1)


@PENALTIES.register("each")
def each(*, weight: NonNegative = 0.1) -> Each:
    return Each(weight=weight)


@PENALTIES.register("with_buffer")
class WithBuffer(Each):
    def __init__(self, *, weight: NonNegative = 0.1) -> None:
        super().__init__(weight=weight)
        self.register_buffer("by_latent", torch.ones(50))


@PENALTIES.register("with_tensor")
class WithTensor(Each):
    def __init__(self, *, weight: NonNegative = 0.1) -> None:
        super().__init__(weight=weight)
        self.inner = torch.nn.Identity()
        self.inner.by_latent = torch.ones(50)


@ACTIVATIONS.register("shifted")
class Shifted(Pointwise):
    def __init__(self) -> None:
        super().__init__("relu")
        self.shift = torch.zeros(50)

    def forward(self, pre_codes: Tensor) -> Tensor:
        return super().forward(pre_codes + self.shift)
"""


def test_parts_of_a_plugin_that_keep_something_of_each_latent(tmp_path: Path) -> None:
    """A process would have those of all latents beside the codes of its own."""
    (tmp_path / "own.py").write_text(OWN)
    for group, name in (
        *(("penalty", name) for name in ("each", "with_buffer", "with_tensor")),
        ("activation", "shifted"),
    ):
        page = tmp_path / "pages" / group / f"{name}.yaml"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# Own.\nname: {name}\n")
    given = ("--plugin", "own.py", "--config-dir", "pages", *SMALL, "model=sparse_l1", *WIDE)
    for word, says in {
        "penalty=with_buffer": "penalty=with_buffer keeps by_latent (50,), which would be of all",
        "penalty=with_tensor": "penalty=with_tensor keeps inner.by_latent (50,), which would be",
        "activation=shifted": "activation=shifted needs all latents in each process",
    }.items():
        first, second = run_ranks(tmp_path, 2, *given, LATENTS, word, "hydra.run.dir=run")
        assert (first.code, second) == (2, Done(0, "", ""))
        assert first.error.startswith(f"error: {says}")
        assert "device.share=rows" in first.error
    assert not (tmp_path / "run").exists()
    done = run_ranks(tmp_path, 2, *given, LATENTS, "penalty=each", "epochs=1", "hydra.run.dir=run")
    assert [one.code for one in done] == [0, 0]

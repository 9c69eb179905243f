"""The decisions of a run: threads, and whether to compile."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli.assembly import compute
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.files import read_json
from sae_cli.runs.train import train
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.gradients.compiled import Compiled
from tests.conftest import SMALL, Configure


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to have six cores and a compiler."""
    monkeypatch.setattr(compute, "AVAILABLE_THREADS", 6)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


def settle(configure: Configure, *overrides: str) -> dict[str, Any]:
    config = configure("device=cpu", *overrides)
    parts = build_parts(config)
    training = build_training(config, parts, read_dataset(config))
    return compute.settle(config, training).as_dict()


def test_a_short_step_takes_one_thread(configure: Configure) -> None:
    """A step takes 6 * batch * weights; 64 latents of 64 features have 8 192 weights."""
    assert settle(configure, "batch_size=32")["device"]["threads"] == 1
    long = ("batch_size=512", "architecture.n_latents=512", "model=ae")
    assert settle(configure, *long)["device"]["threads"] == 6
    assert settle(configure, "device.threads=3")["device"]["threads"] == 3


def test_a_run_computes_on_the_threads_it_was_given(configure: Configure, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        train(configure("device.threads=3", "pictures=false", *SMALL), tmp_path / "run", [])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert read_json(tmp_path / "run" / "environment.json")["threads"] == 3


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the GNU C library")
def test_memory_that_is_freed_is_kept() -> None:
    """The system hands out few pages; 80 tensors of 12 MiB would take 3 136 each."""
    code = (
        "import resource, torch\n"
        "from sae_cli.assembly.compute import _keep_freed_memory\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def step(): return [torch.ones(4096, 784) for _ in range(8)]\n"
        "_keep_freed_memory(); step(); step(); before = faults()\n"
        "for _ in range(10): step()\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 * 3136


def test_the_decisions_are_printed(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(configure("device=cpu", "pictures=false", *SMALL), tmp_path / "run", [])
    assert "device: cpu, 1 thread\n" in capsys.readouterr().out
    compiled = configure("compile=on", "device.threads=2")
    assert compute.describe(compiled) == "2 threads; compiling, half a minute"


def test_tf32_needs_a_gpu(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"precision=tf32 .* on cpu; choose .*float32"):
        build_parts(configure("device=cpu", "device.precision=tf32"))


def test_only_a_long_run_is_compiled(configure: Configure) -> None:
    assert settle(configure)["compile"] == "off"
    assert settle(configure, "epochs=100000")["compile"] == "on"
    # Autograd has more to gain, so a run of bfloat16 compiles earlier.
    middle = ("epochs=2000",)
    assert settle(configure, *middle)["compile"] == "off"
    assert settle(configure, *middle, "device.precision=bfloat16")["compile"] == "on"
    assert settle(configure, "epochs=100000", "compile=off")["compile"] == "off"
    assert settle(configure, "compile=on")["compile"] == "on"


def test_a_stage_of_few_labels_is_short(configure: Configure) -> None:
    """30 000 epochs of 20 labelled examples are at most 30 000 steps, of all examples far more."""
    alone = ("schedule=none", "head=classifier", "head.epochs=0", "head.fine_tune_epochs=30000")
    few = settle(configure, *alone, "head.n_labels=20")
    assert few["compile"] == "off"
    assert settle(configure, *alone)["compile"] == "on"


def test_yaml_reads_on_and_off_as_truth_values(configure: Configure) -> None:
    assert configure("compile=true").settings.compile == "on"
    assert configure("compile=false").settings.compile == "off"


def test_without_a_compiler(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert settle(configure, "epochs=100000")["compile"] == "off"
    with pytest.raises(ConfigError, match=r"compile=on needs a C\+\+ compiler .* compile=off"):
        settle(configure, "compile=on")


def test_the_way_to_the_gradients(configure: Configure) -> None:
    config = configure("device=cpu", "compile=off")
    parts = build_parts(config)
    stage = build_training(config, parts, read_dataset(config)).stages[0]
    assert isinstance(compute.build_gradients(config, parts.device, stage), ByHand)
    half = dataclasses.replace(parts.device, bfloat16=True)
    assert isinstance(compute.build_gradients(config, half, stage), Autograd)
    compiled = configure("device=cpu", "compile=on")
    assert isinstance(compute.build_gradients(compiled, parts.device, stage), Compiled)

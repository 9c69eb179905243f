"""A run whose data are larger than the memory."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
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


# Pages of mapped files can be dropped at any time, so what counts is the memory that is not theirs.
# A limit on the address space would not do: how much of it lies unused depends on the allocator.
WATCHED = """
import re, threading, time
from pathlib import Path
from sae_cli.datasets import stream
from sae_cli.__main__ import sae_train
stream.free_bytes = lambda device: 0
most = 0
def watch():
    global most
    while True:
        status = Path("/proc/self/status").read_text()
        most = max(most, int(re.search(r"RssAnon:\\s+([0-9]+) kB", status)[1]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
try:
    sae_train()
finally:
    print(most)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory as Linux tells it")
def test_a_run_on_more_than_its_memory(tmp_path: Path) -> None:
    """1.5 GB in 24 shards, from the look to the pictures, in less than 1.2 GB beside the files."""
    shard = np.random.default_rng(0).normal(size=(16_000, 1000)).astype(np.float32)
    (tmp_path / "acts").mkdir()
    for number in range(24):
        np.save(tmp_path / "acts" / f"{number}.npy", shard)
    words = "model=topk activation.k=8 architecture.n_latents=64 dataset=array dataset.path=acts"
    words += " dataset.shuffle_seed=0 dataset.centre=mean batch_size=512 epochs=1 progress=false"
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words.split(), "device=cpu", "hydra.run.dir=run"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^data: streamed; \d+% of the training was waiting for them$", done.stdout, re.M
    )
    assert int(done.stdout.split()[-1]) * 1024 < 1.2e9

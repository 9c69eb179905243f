"""The codes of real digits under lateral inhibition, once the atoms are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae_cli.datasets import DATASETS
from sae_cli.results.load import Run, load_run
from sae_cli.runs.train import train
from tests.conftest import Configure, slow

TREE = ("penalty=lateral_tree", "architecture.n_latents=31")
BLOCKS = ("penalty=lateral", "penalty.block_size=4", "architecture.n_latents=32")
SHORT = ("epochs=3", "optimizer.learning_rate=0.01", "pictures=false", "progress=false")


def active(run: Run) -> torch.Tensor:
    """Tell which latents each test digit switches on, bool ``(n_test, n_latents)``."""
    data = DATASETS.build(run.config.parts["dataset"])
    codes = torch.cat([run.encode(x) for x in data.test.batches(500)])
    return codes > 0.0


def on_one_path(run: Run) -> float:
    """Give the share of test digits whose active latents lie on one path from the root of the tree.

    The path is found by walking up from the deepest active node, without S.
    """
    good, examples = 0, active(run)
    for row in examples:
        nodes = set(row.nonzero().flatten().tolist())
        node = max(nodes, default=0)
        path = {node}
        while node:
            node = (node - 1) // 2
            path.add(node)
        good += nodes <= path
    return good / len(examples)


def in_one_block(run: Run, block_size: int) -> float:
    """Give the share of test digits whose active latents are all in one block."""
    blocks = active(run).reshape(-1, run.autoencoder.n_latents // block_size, block_size)
    return float((blocks.any(2).sum(1) == 1).double().mean())


def train_run(configure: Configure, folder: Path, *overrides: str) -> Run:
    config = configure("model=lateral_inhibition", *overrides, *SHORT)
    train(config, folder, [])
    return load_run(folder)


@pytest.mark.parametrize("seed", [0, *slow([1])])
def test_trained_codes_lie_on_one_path(seed: int, configure: Configure, tmp_path: Path) -> None:
    run = train_run(configure, tmp_path / "run", *TREE, "penalty.weight=1.0", f"seed={seed}")
    assert on_one_path(run) >= 0.9
    # Otherwise it might be because next to nothing is on, or because there are only two paths.
    on = active(run)
    assert float(on.sum(1).double().mean()) > 2.0
    assert int(on.any(0).sum()) > 10


def test_little_inhibition_lets_branches_mix(configure: Configure, tmp_path: Path) -> None:
    run = train_run(configure, tmp_path / "run", *TREE, "penalty.weight=0.1")
    assert on_one_path(run) < 0.9


@pytest.mark.parametrize("seed", [0, *slow([1])])
def test_one_block_is_on(seed: int, configure: Configure, tmp_path: Path) -> None:
    run = train_run(configure, tmp_path / "run", *BLOCKS, "penalty.weight=1.0", f"seed={seed}")
    assert in_one_block(run, 4) >= 0.9
    assert float(active(run).sum(1).double().mean()) > 2.0

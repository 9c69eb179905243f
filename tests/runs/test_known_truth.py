"""Dictionaries of data whose atoms are known: the atoms are found, with the codes asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_cli import load_run
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.results.load import Run
from sae_cli.runs.train import train
from tests.conftest import Command, Configure

QUICK = ("pictures=false", "progress=false", "device=cpu", "device.threads=1")
SMALL = (64, 32, 3, 8_000)
LARGE = (512, 128, 8, 40_000)
SMALL_RUN = ("architecture.n_latents=128", "epochs=8")
LARGE_RUN = ("architecture.n_latents=1024", "batch_size=256", "epochs=16")


def truth(folder: Path, n_atoms: int, n_features: int, active: int, n: int) -> NDArray[np.float64]:
    """Save sums of ``active`` atoms, ``(n, n_features)``; give the unit atoms, as rows."""
    random = np.random.default_rng(0)
    atoms = random.normal(size=(n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    chosen = np.argsort(random.random((n, n_atoms)), axis=1)[:, :active]
    codes = np.zeros((n, n_atoms))
    np.put_along_axis(codes, chosen, random.uniform(0.5, 1.5, (n, active)), axis=1)
    np.save(folder / "x.npy", (codes @ atoms).astype(np.float32))
    return atoms


def trained(configure: Configure, folder: Path, *overrides: str) -> Run:
    config = configure("dataset=array", f"dataset.path={folder / 'x.npy'}", *QUICK, *overrides)
    train(config, folder / "run", [])
    return load_run(folder / "run")


def recovery(run: Run, atoms: NDArray[np.float64]) -> float:
    """The mean over true atoms of the cosine of the learned one that is nearest."""
    linear = run.autoencoder.linear_decoder()
    assert linear is not None
    learned = linear[0].detach().numpy()
    return float((atoms @ (learned / np.linalg.norm(learned, axis=0))).max(1).mean())


def check_l0(run: Run, k: int, folder: Path) -> None:
    """Exactly k for TopK, in use; k on average for others, in training and in use.

    A weight that is tuned promises its target on rows that are held out; on those of training,
    which atoms fit better, fewer latents are active.
    """
    in_use = [run.summary[f"{split}/l0"] for split in ("train", "val", "test")]
    activation = run.autoencoder.activation
    if isinstance(activation, TopK):
        assert in_use == [k, k, k]
        return
    assert in_use[1:] == pytest.approx([k, k], rel=0.05)
    assert in_use[0] == pytest.approx(k, rel=0.05 if isinstance(activation, BatchTopK) else 0.1)
    if isinstance(activation, BatchTopK):
        with torch.no_grad():
            batch = torch.from_numpy(np.load(folder / "x.npy")[:256])
            codes = activation.in_training(run.autoencoder.encoder(batch))
        assert float((codes > 0.0).sum(1).double().mean()) == pytest.approx(k, rel=0.05)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=topk", "activation.k=3"),
        ("model=batch_topk", "activation.k=3"),
        ("model=jumprelu", "penalty.target_l0=3"),
        ("model=jumprelu", "penalty=tanh", "penalty.target_l0=3"),
        ("model=sparse_l1", "penalty=tanh", "penalty.target_l0=3"),
        ("model=gated", "penalty.target_l0=3"),
    ],
)
def test_a_few_atoms_are_found(
    overrides: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    atoms = truth(tmp_path, *SMALL)
    run = trained(configure, tmp_path, *overrides, *SMALL_RUN)
    assert recovery(run, atoms) > 0.95
    check_l0(run, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("model=topk", "activation.k=8"),
        ("model=batch_topk", "activation.k=8"),
        ("model=jumprelu", "penalty.target_l0=8"),
    ],
)
def test_many_atoms_are_found(
    overrides: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    atoms = truth(tmp_path, *LARGE)
    run = trained(configure, tmp_path, *overrides, *LARGE_RUN)
    assert recovery(run, atoms) > 0.95
    check_l0(run, 8, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "overrides",
    [
        ("model=topk", "activation.k=8", "epochs=16"),
        ("model=jumprelu", "penalty.target_l0=8", "epochs=24"),
    ],
)
def test_as_many_latents_as_atoms(
    overrides: tuple[str, ...], seed: int, configure: Configure, tmp_path: Path
) -> None:
    """None to spare: an atom whose latent has died stays unfound."""
    atoms = truth(tmp_path, *LARGE)
    size = ("architecture.n_latents=512", "batch_size=256", f"seed={seed}")
    run = trained(configure, tmp_path, *overrides, *size)
    assert recovery(run, atoms) > 0.95
    check_l0(run, 8, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ("model=topk", "activation.k=32", "architecture.bias_init=zeros"),
        ("model=batch_topk", "activation.k=32", "architecture.bias_init=zeros"),
        ("model=sparse_l1_norms",),
        ("model=sparse_l1",),
    ],
)
def test_far_from_zero_latents_die_and_centred_they_live(
    model: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    """The mean is 4 times the spread; neither bias nor anything else begins with it."""
    truth(tmp_path, 512, 256, 16, 20_000)
    x = np.load(tmp_path / "x.npy")
    spread = np.sqrt(np.square(x - x.mean(0)).sum(1).mean())
    far = np.random.default_rng(1).normal(size=256)
    np.save(tmp_path / "x.npy", x - x.mean(0) + 4.0 * spread * far / np.linalg.norm(far))
    words = (*model, "architecture.n_latents=2048", "batch_size=256", "epochs=3", *QUICK)
    words += ("dataset=array", "dataset.path=x.npy")
    done = command(*words, "hydra.run.dir=far")
    assert "4 times the spread: dataset.centre=mean would remove it" in done.stdout
    dead = load_run(tmp_path / "far").summary["train/dead_latents"]
    assert dead > 0.9 * 2048
    assert f"{dead} of 2048 latents are dead" in done.stdout
    assert "try dataset.centre=mean" in done.stdout
    done = command(*words, "dataset.centre=mean", "hydra.run.dir=centred")
    assert done.returncode == 0 and "note: " not in done.stdout
    assert load_run(tmp_path / "centred").summary["train/dead_latents"] < 0.01 * 2048

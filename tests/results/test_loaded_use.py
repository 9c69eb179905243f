"""What a loaded run computes, on which arrays, and what it says of its data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from sae_cli import Run, load_run
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from tests.configured import configured
from tests.conftest import SMALL, Configure

QUICK = ("device=cpu", "pictures=false", "progress=false", "epochs=1")
IMAGES = load_digits().images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(configured("model=sparse_l1", "pictures=false", *SMALL), path, [])
    return path


@pytest.fixture(scope="module")
def variational(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "vae"
    train(configured("model=vae", "architecture.n_latents=3", "pictures=false", *SMALL), path, [])
    return path


@pytest.mark.parametrize("batch_size", [1, 7, 1024])
def test_arrays_give_arrays_and_tensors_tensors(folder: Path, batch_size: int) -> None:
    run, x = load_run(folder), IMAGES[:20] / 16
    whole = run.autoencoder(torch.from_numpy(x).float().unsqueeze(1))
    codes = run.encode(x, batch_size=batch_size)
    assert isinstance(codes, np.ndarray) and codes.dtype == np.float32
    np.testing.assert_allclose(codes, whole.codes.detach(), atol=1e-6)
    for x_hat in (run.decode(codes, batch_size=batch_size), run.reconstruct(x)):
        assert isinstance(x_hat, np.ndarray)
        np.testing.assert_allclose(x_hat, whole.x_hat.detach(), atol=1e-6)
    of_tensors = run.encode(torch.from_numpy(x), batch_size=batch_size)
    assert isinstance(of_tensors, torch.Tensor) and not of_tensors.requires_grad
    assert torch.equal(of_tensors, torch.from_numpy(codes))
    # Only arrays come back as arrays.
    assert isinstance(run.encode(x.tolist()), torch.Tensor)


def test_no_rows_give_no_rows_of_the_same_kind(folder: Path) -> None:
    run = load_run(folder)
    for made in (run.encode, run.reconstruct):
        assert isinstance(made(np.zeros((0, 64))), np.ndarray)
        assert isinstance(made(torch.zeros(0, 64)), torch.Tensor)
    assert run.decode(np.zeros((0, 64))).shape == (0, 1, 8, 8)
    assert run.reconstruct(np.zeros((0, 64), np.uint8)).shape == (0, 1, 8, 8)


def test_what_was_given_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    run = load_run(folder)
    np.save(tmp_path / "x.npy", IMAGES[:9].astype(np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    codes = run.encode(mapped, batch_size=4)
    np.testing.assert_allclose(codes, run.encode(IMAGES[:9] / 16), atol=1e-6)
    x = torch.rand(3, 64, requires_grad=True)
    before = x.detach().clone()
    run.encode(x)
    assert torch.equal(x.detach(), before)


def test_doubts_are_of_all_batches_together(folder: Path) -> None:
    """A batch of zeros and ones alone could be fractions; beside larger integers it cannot."""
    x = np.concatenate([np.ones((4, 64), np.uint8), np.full((4, 64), 9, np.uint8)])
    load_run(folder).encode(x, batch_size=4)
    far = np.concatenate([np.zeros((4, 64)), np.full((4, 64), np.nan), np.ones((4, 64))])
    with pytest.warns(UserWarning, match=r"\[nan, nan\]") as caught:
        load_run(folder).encode(far, batch_size=4)
    assert [one.filename for one in caught] == [__file__]


def test_the_device_is_chosen_and_refused(folder: Path) -> None:
    run = load_run(folder)
    assert run.to("cpu") is run and run.device == torch.device("cpu")
    for wrong in ("gpu", "cuda:99"):
        with pytest.raises(ConfigError, match=rf"{wrong} is not a device of this machine \(.*give"):
            run.to(wrong)
    meta = load_run(folder).to("meta")
    assert meta.device.type == "meta"


def test_the_dictionary_is_what_a_latent_adds(configure: Configure, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(3, 2, (60, 5)).astype(np.float32))
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "batch_size=16")
    scaled = ("dataset.centre=mean", "dataset.scale=rms", "architecture.n_latents=7")
    train(configure("model=topk", "activation.k=2", *how, *scaled, *QUICK), tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    nothing = run.decode(np.zeros((1, run.n_latents)))
    each = run.decode(np.eye(run.n_latents)) - nothing
    np.testing.assert_allclose(run.dictionary, each, atol=1e-5)
    before = run.encode(np.ones((2, 5)))
    run.dictionary.zero_()
    np.testing.assert_array_equal(run.encode(np.ones((2, 5))), before)


def test_a_deep_decoder_has_no_dictionary(variational: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no dictionary: .* run\.autoencoder\.atoms\(n\)"):
        load_run(variational).dictionary  # noqa: B018


def test_draws_from_the_prior_are_decoded(variational: Path, folder: Path) -> None:
    run = load_run(variational)
    drawn = run.sample(5, seed=1)
    codes = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, run.decode(codes)) and drawn.shape == (5, 1, 8, 8)
    assert not torch.equal(run.sample(5), run.sample(5))
    assert run.sample(0).shape == (0, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"no prior to draw from, .* such as model=vae"):
        load_run(folder).sample(2)


def test_metrics_are_a_frame_where_pandas_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(folder)
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency")
    frame = run.metrics_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame["epoch"]) == [0, 1]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas \(pip install pandas\); run\.metrics is"):
        run.metrics_frame()


def test_pictures_are_drawn_anew(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    summary = train(configured("model=sparse_l1", *SMALL, "pictures=true"), other, [])
    run = load_run(other)
    assert run.summary["test/fvu"] == summary["test/fvu"]
    for name in ("loss_curves", "atoms", "reconstructions"):
        figure = run.plot(name)
        figure.savefig(tmp_path / "again.png", dpi=figure.dpi)
        again, kept = tmp_path / "again.png", other / "pictures" / f"{name}.png"
        drawn, saved = (np.asarray(Image.open(path).convert("RGB")) for path in (again, kept))
        np.testing.assert_array_equal(drawn, saved)
    with pytest.raises(ConfigError, match=r"atom is not a picture .*; did you mean atoms\?"):
        run.plot("atom")


def test_a_split_gives_the_metrics_of_the_run(folder: Path) -> None:
    run = load_run(folder)
    x, labels = run.data("test")
    assert x.shape == (1500, 1, 8, 8) and x.dtype == np.float32
    np.testing.assert_array_equal(x[:, 0], (IMAGES[-1500:] / 16).astype(np.float32))
    np.testing.assert_array_equal(labels, load_digits().target[-1500:])
    stored, _ = run.data("test", as_stored=True)
    np.testing.assert_array_equal(stored[:, 0], IMAGES[-1500:])
    np.testing.assert_array_equal(run.encode(stored, as_stored=True), run.encode(x))
    with pytest.raises(ConfigError, match=r"split tests is unknown; .*did you mean test\?"):
        run.data("tests")


@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("centre", ["mean", "geometric_median"])
def test_a_centre_is_undone_in_all_that_is_closing(
    configure: Configure, tmp_path: Path, centre: str, unit_norm: bool
) -> None:
    """The closing figures of a run that centres come out of the file's rows and what is decoded."""
    x = np.random.default_rng(0).normal(5, 2, (200, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    how = ["dataset=array", f"dataset.path={tmp_path / 'x.npy'}", f"dataset.centre={centre}"]
    how += ["unit_norm=true"] if unit_norm else ["dataset.scale=rms"]
    config = configure("model=sparse_l1", *how, *QUICK, "batch_size=16")
    summary = train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    rows, _ = run.data("test")
    if not unit_norm:
        np.testing.assert_allclose(rows, x[-len(rows) :], rtol=1e-5)
    error = np.square(run.reconstruct(rows).astype(float) - rows)
    scale = run.record.inputs.scale
    assert error.mean() == pytest.approx(summary["test/mse"] * scale**2, rel=1e-4)
    fvu = error.sum() / np.square(rows.astype(float) - rows.mean(0, dtype=float)).sum()
    assert fvu == pytest.approx(summary["test/fvu"], rel=1e-4)
    stored, _ = run.data("test", as_stored=True)
    assert np.abs(run.encode(stored)).mean() == pytest.approx(
        summary["test/mean_activity"], rel=1e-4
    )


def test_data_that_have_changed_are_warned_of(configure: Configure, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "batch_size=16")
    train(configure("model=sparse_l1", *how, *QUICK), tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    np.save(tmp_path / "x.npy", x + 1)
    with pytest.warns(UserWarning, match="the data are not those that .* was trained on") as caught:
        run.data("val")
        run.data("val")
    assert [one.filename for one in caught] == [__file__]
    (tmp_path / "x.npy").unlink()
    with pytest.raises(ConfigError, match=r"x\.npy"):
        run.data("val")


def test_a_dictionary_has_neither_data_nor_pictures(tmp_path: Path) -> None:
    from tests.results.interchange.layouts import gemma

    run: Run = load_run(gemma()(tmp_path))
    assert run.dictionary.shape == (4, 3)
    for use in (lambda: run.data("test"), lambda: run.plot("atoms")):
        with pytest.raises(ConfigError, match="is a dictionary from elsewhere"):
            use()

"""Exported folders in the hands of the libraries that they are for, where these are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.results.interchange.export import EXPORTERS, export
from sae_cli.run_folder.files import write_new_folder
from tests.results.interchange.layouts import GIVEN, Rows, Write, X
from tests.results.interchange.models import MODELS, examples, expected, make_run

# These libraries bring language models with them, gigabytes that the project does not need. What
# they gave for small dictionaries is in ``layouts``.
TOLERANCE = 1e-5
# SAELens itself loads training folders with another class, and computes in bfloat16 what is saved
# in it; an AutoEncoder of dictionary_learning is scaled when it is loaded.
NOT_AS_WRITTEN = {"saelens jumprelu, logarithms", "saelens batchtopk in training"}
NOT_AS_WRITTEN |= {"saelens in bfloat16", "dictionary_learning AutoEncoder"}
AS_WRITTEN = {name: case for name, case in GIVEN.items() if name not in NOT_AS_WRITTEN}
OF_SAELENS = {name: case for name, case in AS_WRITTEN.items() if name.startswith("saelens")}
OF_LEARNING = {name: case for name, case in AS_WRITTEN.items() if name.startswith("dictionary")}

models = pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
pytestmark = pytest.mark.filterwarnings("ignore")


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed, and no part of the tests")


def write(folder: Path, overrides: tuple[str, ...], name: str) -> Any:
    run = make_run(*overrides)
    write_new_folder(folder, EXPORTERS.build({"name": name}, export(run)))
    return run


def compare(run: Any, codes: Any, x_hat: Any) -> None:
    """As close as float32 gets, in units of the largest value."""
    x = examples()
    for found, right in zip((codes, x_hat), expected(run, x), strict=True):
        worst = np.abs(np.asarray(found) - right).max() / max(1.0, np.abs(right).max())
        print(f"largest difference {worst:.1e}")
        assert worst < TOLERANCE


@models
@torch.no_grad()
def test_saelens(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    sae_lens = library("sae_lens")
    run = write(tmp_path / "out", overrides, "saelens")
    sae = sae_lens.SAE.load_from_disk(str(tmp_path / "out"))
    codes = sae.encode(examples())
    compare(run, codes, sae.decode(codes))


@models
@torch.no_grad()
def test_dictionary_learning(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    utils = library("dictionary_learning.utils")
    run = write(tmp_path / "out", overrides, "dictionary_learning")
    sae, _ = utils.load_dictionary(str(tmp_path / "out"), "cpu")
    codes = sae.encode(examples())
    compare(run, codes, sae.decode(codes))


@models
def test_onnxruntime(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    runtime = library("onnxruntime")
    run = write(tmp_path / "out", overrides, "onnx")
    session = runtime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    codes, x_hat = session.run(["codes", "x_hat"], {"x": examples().numpy()})
    compare(run, codes, x_hat)


@pytest.mark.parametrize("name", [name for name in GIVEN if "gated" in name.lower()])
@torch.no_grad()
def test_gated_dictionaries(tmp_path: Path, name: str) -> None:
    """Read from the one library, and written for all."""
    lens, utils = library("sae_lens"), library("dictionary_learning.utils")
    write_it, codes, x_hat = GIVEN[name]
    run = export(load_run(write_it(tmp_path)))
    folders = {name: tmp_path / name for name in ("saelens", "dictionary_learning", "onnx")}
    for kind, folder in folders.items():
        write_new_folder(folder, EXPORTERS.build({"name": kind}, run))
    for sae in (
        lens.SAE.load_from_disk(str(folders["saelens"])),
        utils.load_dictionary(str(folders["dictionary_learning"]), "cpu")[0],
    ):
        np.testing.assert_allclose(sae.encode(X), codes, atol=1e-6)
        np.testing.assert_allclose(sae.decode(sae.encode(X)), x_hat, atol=1e-6)
    session = library("onnxruntime").InferenceSession(str(folders["onnx"] / "model.onnx"))
    for found, right in zip(
        session.run(["codes", "x_hat"], {"x": X.numpy()}), (codes, x_hat), strict=True
    ):
        np.testing.assert_allclose(found, right, atol=1e-6)


@pytest.mark.parametrize(("write", "codes", "x_hat"), OF_SAELENS.values(), ids=OF_SAELENS)
@torch.no_grad()
def test_layouts_are_those_of_saelens(
    tmp_path: Path, write: Write, codes: Rows, x_hat: Rows
) -> None:
    sae = library("sae_lens").SAE.load_from_disk(str(write(tmp_path)))
    found = sae.encode(X)
    np.testing.assert_allclose(found, codes, atol=1e-6)
    np.testing.assert_allclose(sae.decode(found), x_hat, atol=1e-6)


@pytest.mark.parametrize(("write", "codes", "x_hat"), OF_LEARNING.values(), ids=OF_LEARNING)
@torch.no_grad()
def test_layouts_are_those_of_dictionary_learning(
    tmp_path: Path, write: Write, codes: Rows, x_hat: Rows
) -> None:
    load = library("dictionary_learning.utils").load_dictionary
    sae, _ = load(str(write(tmp_path)), "cpu")
    found = sae.encode(X)
    np.testing.assert_allclose(found, codes, atol=1e-6)
    np.testing.assert_allclose(sae.decode(found), x_hat, atol=1e-6)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka_batchtopk", "jumprelu", "topk"])
@torch.no_grad()
def test_training_folders_of_saelens(tmp_path: Path, name: str) -> None:
    """What SAELens saves in the middle of a training gives here the codes of its evaluation."""
    lens = library("sae_lens")
    config, kind = {
        "batchtopk": ("BatchTopKTrainingSAEConfig", "BatchTopKTrainingSAE"),
        "matryoshka_batchtopk": (
            "MatryoshkaBatchTopKTrainingSAEConfig",
            "MatryoshkaBatchTopKTrainingSAE",
        ),
        "jumprelu": ("JumpReLUTrainingSAEConfig", "JumpReLUTrainingSAE"),
        "topk": ("TopKTrainingSAEConfig", "TopKTrainingSAE"),
    }[name]
    options: dict[str, Any] = {} if name == "jumprelu" else {"k": 3}
    if name.startswith("matryoshka"):
        options["matryoshka_widths"] = [5, 20]
    sae = getattr(lens, kind)(getattr(lens, config)(d_in=12, d_sae=20, **options))
    generator = torch.Generator().manual_seed(3)
    for parameter in sae.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    if "batchtopk" in name:
        sae.topk_threshold.fill_(0.8)
    training, inference = tmp_path / "training", tmp_path / "inference"
    sae.save_model(str(training))
    sae.save_inference_model(str(inference))
    real = lens.SAE.load_from_disk(str(inference))
    x = examples() / 4.0
    codes = real.encode(x)
    assert 0 < int((codes > 0.0).sum()) < codes.numel()
    for folder in (training, inference):
        run = load_run(folder)
        np.testing.assert_allclose(run.encode(x), codes, atol=1e-5)
        np.testing.assert_allclose(run.reconstruct(x), real.decode(codes), atol=1e-5)

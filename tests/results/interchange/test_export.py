"""Exported runs: what is in the files, and that they come back as what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_cli import load_run
from sae_cli.core.errors import ConfigError
from sae_cli.datasets.inputs import Inputs
from sae_cli.results.interchange.export import EXPORTERS, export
from sae_cli.results.load import Run
from sae_cli.run_folder.files import write_new_folder
from tests.results.interchange.layouts import B_DEC, B_ENC, GATES, R_MAG, D, E, saelens
from tests.results.interchange.models import DIVISOR, MODELS, examples, expected, make_run

COME_BACK = ("saelens", "dictionary_learning", "safetensors")
models = pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)


def onnx() -> Any:
    """The package with its interpreter; it is an extra, which a user may not have."""
    pytest.importorskip("onnx.reference", reason="the extra export, which has onnx, is missing")
    import onnx.reference

    return onnx


def write(folder: Path, run: Run, name: str) -> Path:
    write_new_folder(folder, EXPORTERS.build({"name": name}, export(run)))
    return folder


def activate(
    inner: NDArray[Any], about: dict[str, Any], tensors: dict[str, Tensor]
) -> NDArray[Any]:
    """The codes that the metadata of the plain file describe, in NumPy."""
    t: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in tensors.items()}
    if about["activation"] == "gated":
        magnitudes = np.maximum(np.exp(t["r_mag"]) * inner + t["b_mag"], 0)
        return np.where(inner + t["b_gate"] > 0, magnitudes, 0)
    pre_codes: NDArray[Any] = inner + t["b_enc"]
    if "threshold" in t:
        return np.where(pre_codes > t["threshold"], pre_codes, 0)
    codes: NDArray[Any] = np.maximum(pre_codes, 0)
    if about["activation"] == "topk":
        least = np.sort(pre_codes, axis=1)[:, -about["k"], None]
        codes = np.where(pre_codes >= least, codes, 0)
    return codes


@models
@pytest.mark.parametrize("name", COME_BACK)
def test_what_is_exported_comes_back(tmp_path: Path, overrides: tuple[str, ...], name: str) -> None:
    run, x = make_run(*overrides), examples()
    back = load_run(write(tmp_path / "out", run, name))
    codes, x_hat = expected(run, x)
    np.testing.assert_allclose(back.encode(x), codes, atol=1e-5)
    np.testing.assert_allclose(back.reconstruct(x).flatten(1), x_hat, atol=5e-5)
    # What was loaded from a peer is exported in turn.
    for other in COME_BACK:
        again = load_run(write(tmp_path / other, back, other))
        np.testing.assert_allclose(again.encode(x), codes, atol=1e-5)


@models
def test_plain_tensors_need_nothing_but_their_metadata(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    run, x = make_run(*overrides), examples()
    file = write(tmp_path / "out", run, "safetensors") / "dictionary.safetensors"
    with safetensors.safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()["sae_train_dictionary"])
        t = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert about["input_shape"] == [1, 3, 4]
    shapes = {"W_enc": (12, 20), "W_dec": (20, 12), "b_dec": (12,)}
    assert {name: tuple(t[name].shape) for name in shapes} == shapes
    codes = activate((x @ t["W_enc"]).numpy(), about, t)
    right, x_hat = expected(run, x)
    np.testing.assert_allclose(codes, right, atol=1e-5)
    np.testing.assert_allclose(codes @ t["W_dec"].numpy() + t["b_dec"].numpy(), x_hat, atol=5e-5)


@models
def test_the_graph_of_onnx_computes_the_same(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """In onnx's own interpreter, which is written in NumPy."""
    onnx()
    run, x = make_run(*overrides), examples()
    file = write(tmp_path / "out", run, "onnx") / "model.onnx"
    session = onnx().reference.ReferenceEvaluator(str(file))
    codes, x_hat = session.run(["codes", "x_hat"], {"x": x.numpy()})
    right, right_x_hat = expected(run, x)
    np.testing.assert_allclose(codes, right, atol=1e-5)
    np.testing.assert_allclose(x_hat, right_x_hat, atol=5e-5)


@pytest.mark.parametrize("name", COME_BACK)
def test_a_dictionary_of_one_latent(tmp_path: Path, name: str) -> None:
    """Its weights are as good as their transposes, and tied ones lie in the same memory."""
    overrides = ("model=sparse_l1", "activation=relu", "architecture.n_latents=1")
    run, x = make_run(*overrides, "architecture.tied=true"), examples()
    back = load_run(write(tmp_path / "out", run, name))
    codes = run.encode(x / DIVISOR, as_stored=False)
    np.testing.assert_allclose(back.encode(x), codes, atol=1e-5)


def test_files_of_saelens(tmp_path: Path) -> None:
    """The keys and tensors that sae-lens 6.54.12 itself writes for these architectures."""
    common: dict[str, Any] = {"d_in": 12, "d_sae": 20, "dtype": "float32", "device": "cpu"}
    common |= {"normalize_activations": "none", "reshape_activations": "none"}
    own: dict[str, dict[str, Any]] = {
        "relu": {"architecture": "standard"},
        "topk": {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": False},
        "batch_topk": {"architecture": "jumprelu"},
        "jumprelu, nothing subtracted": {"architecture": "jumprelu"},
    }
    for name, keys in own.items():
        folder = write(tmp_path / name, make_run(*MODELS[name]), "saelens")
        config = json.loads((folder / "cfg.json").read_text())
        assert config.pop("metadata")["sae_lens_version"] == "6.54.12"
        subtracted = {"apply_b_dec_to_input": not name.endswith("subtracted")}
        assert config == common | keys | subtracted
        with safetensors.safe_open(folder / "sae_weights.safetensors", "pt") as file:
            names = {"W_enc", "b_enc", "W_dec", "b_dec"}
            thresholds = {"threshold"} if keys["architecture"] == "jumprelu" else set()
            assert set(file.keys()) == names | thresholds


def test_classes_of_dictionary_learning(tmp_path: Path) -> None:
    """An AutoEncoder is scaled when it is loaded, so that its atoms have to have unit norm."""
    classes = {
        "relu": "AutoEncoderNew",
        "dense relu": "AutoEncoderNew",
        "topk": "AutoEncoderTopK",
        "batch_topk": "BatchTopKSAE",
        "jumprelu": "JumpReluAutoEncoder",
    }
    for name, expected_class in classes.items():
        folder = write(tmp_path / name, make_run(*MODELS[name]), "dictionary_learning")
        trainer = json.loads((folder / "config.json").read_text())["trainer"]
        assert trainer["dict_class"] == expected_class
        assert trainer.get("k") == (3 if "TopK" in expected_class else None)
    unscaled = make_run(*MODELS["relu"], inputs=Inputs())
    folder = write(tmp_path / "unscaled", unscaled, "dictionary_learning")
    assert set(torch.load(folder / "ae.pt", weights_only=True)) == {
        *("bias", "encoder.weight", "encoder.bias", "decoder.weight")
    }


@pytest.mark.parametrize("name", [*COME_BACK, "onnx"])
@pytest.mark.parametrize("subtracted", [True, False])
def test_gated_dictionaries_go_everywhere(tmp_path: Path, name: str, subtracted: bool) -> None:
    if name == "onnx":
        onnx()
    config: dict[str, Any] = {"architecture": "gated", "apply_b_dec_to_input": subtracted}
    (tmp_path / "first").mkdir()
    run = load_run(saelens(GATES, **config)(tmp_path / "first"))
    folder = write(tmp_path / "out", run, name)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    inner = (x.numpy() - subtracted * B_DEC.numpy()) @ E.numpy()
    magnitude = np.maximum(np.exp(R_MAG.numpy()) * inner - B_ENC.numpy(), 0)
    right = np.where(inner + B_ENC.numpy() > 0, magnitude, 0)
    if name == "onnx":
        session = onnx().reference.ReferenceEvaluator(str(folder / "model.onnx"))
        codes, x_hat = session.run(["codes", "x_hat"], {"x": x.numpy()})
    else:
        back = load_run(folder)
        codes, x_hat = back.encode(x).numpy(), back.reconstruct(x).numpy()
    np.testing.assert_allclose(codes, right, atol=1e-6)
    np.testing.assert_allclose(x_hat, right @ D.numpy() + B_DEC.numpy(), atol=1e-6)


def test_unit_norm_is_told_and_not_folded(tmp_path: Path) -> None:
    run = make_run(*MODELS["topk"], inputs=Inputs(divisor=DIVISOR, unit_norm=True))
    back = load_run(write(tmp_path / "out", run, "safetensors"))
    x = examples()
    assert back.record.inputs.unit_norm
    np.testing.assert_allclose(back.encode(x), run.encode(x), atol=1e-5)
    config = write(tmp_path / "saelens", run, "saelens") / "cfg.json"
    assert json.loads(config.read_text())["metadata"]["unit_norm"] is True


def test_a_loaded_dictionary_has_no_configuration(tmp_path: Path) -> None:
    back = load_run(write(tmp_path / "out", make_run(*MODELS["topk"]), "saelens"))
    with pytest.raises(ConfigError, match="has no configuration"):
        _ = back.config
    with pytest.raises(ConfigError, match=r"summary\.json cannot be read"):
        _ = back.summary
    with pytest.raises(ValueError, match="no classifier"):
        back.classify(np.zeros((1, 12)))
    with pytest.raises(ValueError, match=r"shape \(2, 11\); expected \(batch, 12\)"):
        back.encode(np.zeros((2, 11)))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("model=ae",), "its encoder is not one linear layer"),
        (("model=stacked",), "its encoder is not one linear layer"),
        (("model=vae", "architecture.hidden_sizes=[]"), "its activation is gaussian"),
        (("model=linear",), "its activation is identity"),
        (("model=sparse_kl", "architecture.hidden_sizes=[]"), "its activation is sigmoid"),
        (("model=sparse_coding",), "its encoder is not one linear layer"),
        (("model=psd",), "its encoder is not one linear layer"),
        (("model=lista",), "its encoder is not one linear layer"),
        (
            (
                "model=topk",
                "architecture=dense",
                "architecture.n_latents=20",
                "activation.k=3",
                "architecture.output_activation=sigmoid",
            ),
            "with identity output",
        ),
        (("model=sparse_l1", "activation=relu", "inference=fista"), "its codes are inferred"),
    ],
)
def test_what_no_other_library_holds_is_one_line(overrides: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        export(make_run(*overrides))


@models
def test_a_centre_and_a_scale_are_part_of_the_weights(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    centre = torch.linspace(-1.0, 2.0, 12).reshape(1, 3, 4)
    run = make_run(*overrides, inputs=Inputs(divisor=DIVISOR, centre=centre, scale=0.5))
    x = examples() * 0.5 + DIVISOR * centre.flatten()
    seen = (x / DIVISOR - centre.flatten()) / 0.5
    codes = run.autoencoder.encode(seen.reshape(-1, 1, 3, 4)).detach()
    x_hat = run.autoencoder.decode(codes).detach().flatten(1)
    loaded = load_run(write(tmp_path / "out", run, "safetensors"))
    torch.testing.assert_close(loaded.encode(x), codes, rtol=1e-4, atol=1e-4)
    found = loaded.reconstruct(x).flatten(1)
    raw = DIVISOR * (x_hat * 0.5 + centre.flatten())
    torch.testing.assert_close(found, raw, rtol=1e-4, atol=1e-4)


def test_a_centre_before_a_norm_is_refused() -> None:
    inputs = Inputs(unit_norm=True, centre=torch.ones(1, 3, 4))
    with pytest.raises(ConfigError, match="train with unit_norm=false"):
        export(make_run(*MODELS["topk"], inputs=inputs))

"""Files of dictionaries that are damaged, hostile or of another kind: one line, and no memory."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.core.errors import ConfigError
from tests.results.interchange.layouts import (
    B_DEC,
    B_ENC,
    GATES,
    LAYERS,
    MATRICES,
    D,
    E,
    K,
    T,
    gemma,
    learned,
    saelens,
    save,
    sparsify,
)

JUMP = MATRICES | {"threshold": T}
TOPK = LAYERS | {"b_dec": B_DEC, "k": K, "threshold": torch.tensor(-1.0)}


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made",)


def torch_file(content: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        torch.save(content, folder / "ae.pt")
        return folder / "ae.pt"

    return write


def tensors_of_others(tensors: dict[str, torch.Tensor], name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save(folder / name, tensors)
        return folder / name

    return write


def pickled(folder: Path) -> Path:
    (folder / "ae.pt").write_bytes(pickle.dumps({"bias": 1}))
    return folder


def compressed(folder: Path) -> Path:
    """An archive that unpacks to a thousand times its size."""
    torch.save({"x": torch.zeros(10**6)}, folder / "whole.pt")
    with (
        zipfile.ZipFile(folder / "whole.pt") as whole,
        zipfile.ZipFile(folder / "ae.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    return folder / "ae.pt"


def objects(folder: Path) -> Path:
    arrays = {name: tensor.numpy() for name, tensor in JUMP.items()}
    arrays["b_enc"] = np.array([Evil()], dtype=object)
    np.savez(folder / "params.npz", **arrays)  # type: ignore[arg-type]
    return folder


def truncated(folder: Path) -> Path:
    path = gemma()(folder)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def cut(folder: Path) -> Path:
    saelens(MATRICES)(folder)
    file = folder / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    return folder


def without(name: str, write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def then(folder: Path) -> Path:
        path = write(folder)
        (folder / name).unlink()
        return path

    return then


def with_text(name: str, text: str, write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def then(folder: Path) -> Path:
        path = write(folder)
        (folder / name).write_text(text)
        return path

    return then


def plain(about: str, tensors: dict[str, torch.Tensor] = MATRICES) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from safetensors.torch import save_file

        metadata = {"sae_train_dictionary": about}
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, folder / "dictionary.safetensors", metadata)
        return folder

    return write


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "ae.pt")
    return folder


ABOUT = {"activation": "relu", "k": None, "input_shape": [3], "unit_norm": False}

FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pickle that runs": (torch_file({"bias": Evil()}), "nothing is unpickled"),
    "a pickle alone": (pickled, "cannot be read"),
    "a list": (torch_file([E]), "it holds a list"),
    "no tensors": (torch_file({"a": 1}), "holds no tensors"),
    "one number that fills a tensor": (
        torch_file(LAYERS | {"bias": torch.zeros(1).expand(2**30)}),
        "bias is larger than the file",
    ),
    "a sparse tensor": (torch_file(LAYERS | {"bias": B_DEC.to_sparse()}), "not a plain tensor"),
    "a packed archive": (compressed, "it is compressed"),
    "a pipe": (pipe, "it is not a file"),
    "an archive that was cut": (truncated, "cannot be read"),
    "objects in an array": (objects, "Python objects"),
    "a file that was cut": (cut, "cannot be read"),
    "no cfg.json": (without("cfg.json", saelens(MATRICES)), "needs cfg.json of SAELens"),
    "cfg.json that is a list": (with_text("cfg.json", "[1]", saelens(MATRICES)), "holds no keys"),
    "cfg.json that is deep": (with_text("cfg.json", "[" * 10**5, saelens(MATRICES)), "cannot be"),
    "another width": (saelens(MATRICES, d_sae=5), "d_sae=5"),
    "a width that nothing has": (saelens(MATRICES, d_sae=10**30), "d_sae"),
    "a switch of text": (
        saelens(MATRICES, apply_b_dec_to_input="no"),
        "cfg.json: apply_b_dec_to_input: must be true or false",
    ),
    "another architecture": (saelens(MATRICES, architecture="temporal"), "architecture is temp"),
    "gates without magnitudes": (
        saelens({k: v for k, v in GATES.items() if k != "r_mag"}, architecture="gated"),
        "holds the tensors",
    ),
    "layer norm": (saelens(MATRICES, normalize_activations="layer_norm"), "layer_norm"),
    "reshaped": (saelens(MATRICES, reshape_activations="hook_z"), "hook_z"),
    "topk of before 6.0": (saelens(MATRICES, activation_fn_str="topk"), "activation_fn is topk"),
    "no k": (saelens(MATRICES, architecture="topk"), "k is None"),
    "half a k": (saelens(MATRICES, architecture="topk", k=1.5), "k is 1.5"),
    "k of 0": (saelens(MATRICES, architecture="topk", k=0), "k"),
    "k of text": (saelens(MATRICES, architecture="topk", k="1"), "k"),
    "k above the latents": (saelens(MATRICES, architecture="topk", k=5), "k is 5 with 4"),
    "thresholds of another": (saelens(JUMP, architecture="standard"), "holds the tensors"),
    "no thresholds": (saelens(MATRICES, architecture="jumprelu"), "holds the tensors"),
    "scales that are not 1": (
        saelens(MATRICES | {"scaling_factor": T}),
        "holds the tensors W_dec, W_enc, b_dec, b_enc, scaling_factor",
    ),
    "one threshold": (
        saelens(MATRICES | {"threshold": T[:1]}, architecture="jumprelu"),
        r"threshold has shape \(1,\)",
    ),
    "whole numbers": (saelens(MATRICES | {"b_enc": B_ENC.long()}), "not floating point"),
    "complex numbers": (
        torch_file(LAYERS | {"bias": B_DEC.to(torch.complex64)}),
        "not floating point",
    ),
    "the other orientation": (
        torch_file(JUMP | {"W_enc": E.T, "W_dec": D.T}),
        "goes with 4 features and 3 latents",
    ),
    "other tensors under the name": (
        saelens({"W_E": E, "b_E": B_ENC, "W_D": D, "b_D": B_DEC}),
        "holds W_D, W_E, b_D, b_E, which is none of the dictionaries",
    ),
    "layers with thresholds in a text": (
        tensors_of_others(LAYERS | {"decoder.bias": B_DEC}, "final.safetensors"),
        "none of the dictionaries",
    ),
    "topk without its k": (torch_file(MATRICES), "none of the dictionaries"),
    "no config.json": (without("config.json", learned(TOPK, "")), "does not say which"),
    "another class": (learned(TOPK, "AutoEncoder"), "does not say which"),
    "a trainer of text": (with_text("config.json", '{"trainer": "x"}', learned(TOPK, "")), "which"),
    "thresholds where one is": (learned(TOPK | {"threshold": T}, "BatchTopKSAE"), "one number"),
    "k of a fraction": (
        learned(TOPK | {"k": torch.tensor(1.5)}, "AutoEncoderTopK"),
        "k is not a whole number",
    ),
    "a vector for a layer": (
        torch_file(LAYERS | {"bias": B_DEC, "encoder.weight": B_ENC}),
        "expected two axes",
    ),
    "nothing in it": (
        torch_file(LAYERS | {"bias": B_DEC, "encoder.weight": torch.zeros(4, 0)}),
        "shape",
    ),
    "sparsify's transcoder": (sparsify(transcode=True), "transcode makes more of it"),
    "sparsify's groupmax": (sparsify(activation="groupmax"), "activation makes more of it"),
    "sparsify's k": (sparsify(k=None), "k is None"),
    "sparsify without cfg.json": (without("cfg.json", sparsify()), "needs cfg.json of sparsify"),
    "metadata of nothing": (plain("{"), "its metadata are {"),
    "metadata of another shape": (plain(json.dumps(ABOUT | {"input_shape": [2]})), "other than"),
    "metadata of a large shape": (
        plain(json.dumps(ABOUT | {"input_shape": [2**20] * 3})),
        "its metadata are",
    ),
    "metadata of gates": (plain(json.dumps(ABOUT | {"activation": "gated"})), "b_mag or r_mag"),
    "metadata of another kind": (plain(json.dumps(ABOUT | {"activation": "jumprelu"})), "missing"),
}


@pytest.mark.parametrize(("write", "text"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=text) as caught:
        load_run(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_what_is_no_file_of_a_dictionary(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "nowhere.pt", tmp_path / "no"):
        with pytest.raises(
            ConfigError, match=r"there is no config\.yaml in it|no such folder or file"
        ):
            load_run(path)

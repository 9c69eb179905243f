"""Files of other libraries, written here in their layouts, with the codes that they gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

E = torch.tensor([[-0.5, 0.25, -0.25, 0.5], [0, -0.5, 0.25, -0.25], [0.5, 0, -0.5, 0.25]])
D = torch.tensor([[-0.75, 0.25, -0.5], [0, -0.75, 0.25], [0.75, 0, -0.75], [-0.25, 0.75, 0]])
B_ENC = torch.tensor([0, 0.25, -0.25, 0.5])
B_DEC = torch.tensor([0.5, -0.25, 0.25])
T = torch.tensor([0.3, 0.9, 0.1, 0.5])
X = torch.tensor([[1, 2, -1], [0.5, -1.5, 0.25]])
K = torch.tensor(1, dtype=torch.int32)

MATRICES = {"W_enc": E, "b_enc": B_ENC, "W_dec": D, "b_dec": B_DEC}
LAYERS = {"encoder.weight": E.T, "encoder.bias": B_ENC, "decoder.weight": D.T}

Write = Callable[[Path], Path]


def saelens(tensors: dict[str, Tensor], **config: Any) -> Write:
    """``sae_weights.safetensors`` and ``cfg.json`` of SAELens."""

    def write(folder: Path) -> Path:
        keys = {"d_in": 3, "d_sae": 4, "dtype": "float32", "device": "cpu"} | config
        save(folder / "sae_weights.safetensors", tensors)
        (folder / "cfg.json").write_text(json.dumps(keys))
        return folder

    return write


def learned(tensors: dict[str, Tensor], dict_class: str, **trainer: Any) -> Write:
    """``ae.pt`` and ``config.json`` of dictionary_learning."""

    def write(folder: Path) -> Path:
        # The library's own files hold transposed views.
        torch.save(tensors, folder / "ae.pt")
        config = {"trainer": {"dict_class": dict_class} | trainer}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


def sparsify(**config: Any) -> Write:
    """``sae.safetensors`` and ``cfg.json`` of sparsify."""

    def write(folder: Path) -> Path:
        tensors = {"encoder.weight": E.T, "encoder.bias": B_ENC, "W_dec": D, "b_dec": B_DEC}
        save(folder / "sae.safetensors", tensors)
        keys = {"activation": "topk", "k": 2, "d_in": 3, "skip_connection": False}
        (folder / "cfg.json").write_text(json.dumps(keys | {"transcode": False} | config))
        return folder

    return write


def gemma(**names: str) -> Write:
    """``params.npz`` of Gemma Scope."""

    def write(folder: Path) -> Path:
        tensors = MATRICES | {"threshold": T}
        arrays = {names.get(name, name): tensor.numpy() for name, tensor in tensors.items()}
        np.savez(folder / "params.npz", **arrays)  # type: ignore[arg-type]
        return folder / "params.npz"

    return write


def save(path: Path, tensors: dict[str, Tensor]) -> None:
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(whole, path)


RELU = [[0, 0, 0.8125, 0], [0, 0.875, 0, 0.8125]]
RELU_OUT = [[1.109375, -0.25, -0.359375], [0.296875, -0.296875, 0.46875]]
UNSUBTRACTED = [[0, 0, 0.5, 0.25], [0, 1.125, 0, 1.1875]]
UNSUBTRACTED_OUT = [[0.8125, -0.0625, -0.125], [0.203125, -0.203125, 0.53125]]
TOP1 = [[0, 0, 0.8125, 0], [0, 0.875, 0, 0]]
TOP1_OUT = [[1.109375, -0.25, -0.359375], [0.5, -0.90625, 0.46875]]
SCALED = [[0, 0, 0.861786, 0], [0, 0.691748, 0, 0]]
JUMP = [[0, 0, 0.8125, 0], [0, 0, 0, 0.8125]]
JUMP_OUT = [[1.109375, -0.25, -0.359375], [0.296875, 0.359375, 0.25]]
JUMP_UNSUBTRACTED = [[0, 0, 0.5, 0], [0, 1.125, 0, 1.1875]]
JUMP_UNSUBTRACTED_OUT = [[0.875, -0.25, -0.125], [0.203125, -0.203125, 0.53125]]

GATED = [[0, 0, 0.894439, 0], [0, 0.780451, 0, 0.349463]]
GATED_OUT = [[1.170829, -0.25, -0.420829], [0.412634, -0.573241, 0.445113]]
R_MAG = torch.tensor([0, 0.5, -0.5, 1])
GATES = {"W_enc": E, "b_gate": B_ENC, "b_mag": -B_ENC, "r_mag": R_MAG, "W_dec": D, "b_dec": B_DEC}
LEARNED_GATES = {
    "encoder.weight": E.T,
    "decoder.weight": D.T,
    "decoder_bias": B_DEC,
    "gate_bias": B_ENC,
    "mag_bias": -B_ENC,
    "r_mag": R_MAG,
}

Rows = list[list[float]]

# Codes and reconstructions of X that sae-lens 6.54.12, dictionary_learning 0.1.0 and eai-sparsify
# 1.3.3 gave for these tensors.
GIVEN: dict[str, tuple[Write, Rows, Rows]] = {
    "saelens standard": (saelens(MATRICES, architecture="standard"), RELU, RELU_OUT),
    "saelens of before 6.0": (
        saelens(MATRICES | {"scaling_factor": torch.ones(4)}, activation_fn_str="relu"),
        RELU,
        RELU_OUT,
    ),
    "saelens standard, nothing subtracted": (
        saelens(MATRICES, architecture="standard", apply_b_dec_to_input=False),
        UNSUBTRACTED,
        UNSUBTRACTED_OUT,
    ),
    "saelens in bfloat16": (
        saelens({name: tensor.bfloat16() for name, tensor in MATRICES.items()}, dtype="bfloat16"),
        RELU,
        RELU_OUT,
    ),
    "saelens topk": (saelens(MATRICES, architecture="topk", k=1), TOP1, TOP1_OUT),
    "saelens topk, rescaled": (
        saelens(MATRICES, architecture="topk", k=1, rescale_acts_by_decoder_norm=True),
        SCALED,
        TOP1_OUT,
    ),
    "saelens jumprelu": (
        saelens(MATRICES | {"threshold": T}, architecture="jumprelu"),
        JUMP,
        JUMP_OUT,
    ),
    "saelens jumprelu, logarithms": (
        saelens(MATRICES | {"log_threshold": T.log()}, architecture="jumprelu"),
        JUMP,
        JUMP_OUT,
    ),
    "saelens batchtopk in training": (
        saelens(
            MATRICES | {"topk_threshold": torch.tensor(0.6, dtype=torch.float64)},
            architecture="batchtopk",
            k=1.5,
        ),
        RELU,
        RELU_OUT,
    ),
    "dictionary_learning AutoEncoder": (
        learned(LAYERS | {"bias": B_DEC}, "AutoEncoder"),
        RELU,
        RELU_OUT,
    ),
    "dictionary_learning AutoEncoderNew": (
        learned(LAYERS | {"decoder.bias": B_DEC}, "AutoEncoderNew"),
        UNSUBTRACTED,
        UNSUBTRACTED_OUT,
    ),
    "dictionary_learning AutoEncoderTopK": (
        learned(
            LAYERS | {"b_dec": B_DEC, "k": K, "threshold": torch.tensor(-1.0)},
            "AutoEncoderTopK",
            k=1,
        ),
        TOP1,
        TOP1_OUT,
    ),
    "dictionary_learning BatchTopKSAE": (
        learned(
            LAYERS | {"b_dec": B_DEC, "k": K, "threshold": torch.tensor(0.6)}, "BatchTopKSAE", k=1
        ),
        RELU,
        RELU_OUT,
    ),
    "dictionary_learning MatryoshkaBatchTopKSAE": (
        learned(
            MATRICES
            | {"k": K, "threshold": torch.tensor(0.6), "group_sizes": torch.tensor([1, 3])},
            "MatryoshkaBatchTopKSAE",
            k=1,
        ),
        RELU,
        RELU_OUT,
    ),
    "dictionary_learning JumpReluAutoEncoder": (
        learned(MATRICES | {"threshold": T}, "JumpReluAutoEncoder"),
        JUMP_UNSUBTRACTED,
        JUMP_UNSUBTRACTED_OUT,
    ),
    "saelens gated": (saelens(GATES, architecture="gated"), GATED, GATED_OUT),
    "dictionary_learning GatedAutoEncoder": (
        learned(LEARNED_GATES, "GatedAutoEncoder"),
        GATED,
        GATED_OUT,
    ),
    "sparsify": (sparsify(), RELU, RELU_OUT),
    "gemma scope": (gemma(), JUMP_UNSUBTRACTED, JUMP_UNSUBTRACTED_OUT),
    "gemma scope in small letters": (
        gemma(W_enc="w_enc", W_dec="w_dec"),
        JUMP_UNSUBTRACTED,
        JUMP_UNSUBTRACTED_OUT,
    ),
}

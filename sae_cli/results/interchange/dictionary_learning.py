"""dictionary_learning: ``ae.pt`` and ``config.json``, as of version 0.1.0.

Read are all of its classes, with the codes that the file's weights give: loading an ``AutoEncoder``
there may scale its atoms to unit norm, and its codes with them.
"""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.results.interchange.dictionary import Dictionary, Kind
from sae_cli.results.interchange.given import Given, Matrices
from sae_cli.results.interchange.written import Exported, matrices

WEIGHTS, CONFIG = "ae.pt", "config.json"
LAYERS = frozenset({"encoder.weight", "encoder.bias", "decoder.weight"})
MATRICES = frozenset({"W_enc", "b_enc", "W_dec", "b_dec", "threshold"})
GATED = frozenset(
    {"encoder.weight", "decoder.weight", "decoder_bias", "gate_bias", "mag_bias", "r_mag"}
)
# These two classes save the same tensors.
COUNTED: dict[str, Kind] = {"AutoEncoderTopK": "topk", "BatchTopKSAE": "batch_topk"}
CLASSES = {
    frozenset({*LAYERS, "bias"}): "AutoEncoder",
    frozenset({*LAYERS, "decoder.bias"}): "AutoEncoderNew",
    frozenset({*LAYERS, "b_dec", "k", "threshold"}): "AutoEncoderTopK or BatchTopKSAE",
    frozenset({*MATRICES, "k", "group_sizes"}): "MatryoshkaBatchTopKSAE",
    MATRICES: "JumpReluAutoEncoder",
    GATED: "GatedAutoEncoder",
}


def owns(given: Given) -> bool:
    """Tell whether a file has the tensors of one of the classes."""
    return given.suffix == ".pt" and given.names in CLASSES


def read(given: Given) -> Dictionary:
    """Read a dictionary.

    Raises:
        ConfigError: its configuration is needed and is not there, or names another class.
        ValueError: it is damaged.
    """
    name = CLASSES[given.names]
    if "encoder.weight" not in given.names:
        tensors = given.matrices()
        if name == "JumpReluAutoEncoder":
            return Dictionary(*tensors, "jumprelu", threshold=given.load("threshold"))
        return _batch_topk(given, tensors)
    if name == "GatedAutoEncoder":
        return _gated(given)
    bias = next(key for key in ("bias", "decoder.bias", "b_dec") if key in given.names)
    w_enc, w_dec = _transposed(given, "encoder.weight"), _transposed(given, "decoder.weight")
    tensors = (w_enc, given.load("encoder.bias"), w_dec, given.load(bias))
    if bias != "b_dec":
        return Dictionary(*tensors, "relu", subtract_bias=bias == "bias")
    if _class_of(given) == "BatchTopKSAE":
        return _batch_topk(given, tensors)
    return Dictionary(*tensors, "topk", _whole(given, "k"), subtract_bias=True)


def write(exported: Exported) -> dict[str, bytes]:
    """Give the content of the two files; the class is the one that keeps the codes as they are."""
    name, tensors = _tensors(exported.dictionary)
    trainer: dict[str, Any] = {
        "dict_class": name,
        "trainer_class": None,
        "activation_dim": exported.dictionary.n_features,
        "dict_size": exported.dictionary.n_latents,
        **{key: None for key in ("lr", "layer", "lm_name", "submodule_name", "device", "seed")},
    }
    if name in COUNTED:
        trainer["k"] = exported.dictionary.k
    packed = io.BytesIO()
    torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, packed)
    text = json.dumps({"trainer": trainer, "sae_train": exported.about()}, indent=2) + "\n"
    return {WEIGHTS: packed.getvalue(), CONFIG: text.encode()}


def _tensors(dictionary: Dictionary) -> tuple[str, dict[str, Tensor]]:
    """Give the class and the tensors of a dictionary."""
    match dictionary.kind:
        case "jumprelu":
            folded = dictionary.with_bias_subtracted(False)
            return "JumpReluAutoEncoder", matrices(folded)
        case "gated":
            shifted = dictionary.with_bias_subtracted(True)
            return "GatedAutoEncoder", {
                "encoder.weight": shifted.w_enc.t(),
                "decoder.weight": shifted.w_dec.t(),
                "decoder_bias": shifted.b_dec,
                "gate_bias": shifted.b_enc,
                "mag_bias": shifted.tensors["b_mag"],
                "r_mag": shifted.tensors["r_mag"],
            }
        case "relu":
            # An AutoEncoder's atoms are scaled to unit norm when it is loaded.
            unit = torch.allclose(dictionary.norms, torch.ones(dictionary.n_latents))
            if unit and dictionary.subtract_bias:
                return "AutoEncoder", _layers(dictionary) | {"bias": dictionary.b_dec}
            folded = dictionary.with_bias_subtracted(False)
            return "AutoEncoderNew", _layers(folded) | {"decoder.bias": folded.b_dec}
        case _:
            shifted = dictionary.with_bias_subtracted(True)
            # -1 stands for a threshold that was never learned.
            threshold = torch.tensor(-1.0)
            if shifted.threshold is not None:
                threshold = shifted.threshold[0]
            name = next(name for name, kind in COUNTED.items() if kind == dictionary.kind)
            return name, _layers(shifted) | {
                "b_dec": shifted.b_dec,
                "k": torch.tensor(dictionary.k, dtype=torch.int32),
                "threshold": threshold,
            }


def _layers(dictionary: Dictionary) -> dict[str, Tensor]:
    return {
        "encoder.weight": dictionary.w_enc.t(),
        "encoder.bias": dictionary.b_enc,
        "decoder.weight": dictionary.w_dec.t(),
    }


def _class_of(given: Given) -> str:
    """Read which of the two classes with the same tensors it is."""
    trainer = (given.config(CONFIG) or {}).get("trainer")
    name = trainer.get("dict_class") if isinstance(trainer, dict) else None
    if name not in COUNTED:
        raise ConfigError(
            f"{given.path} holds the tensors of {' and of '.join(COUNTED)} of dictionary_learning, "
            f"and {CONFIG} beside it does not say which: put it there, with trainer.dict_class"
        )
    return str(name)


def _batch_topk(given: Given, tensors: Matrices) -> Dictionary:
    threshold = given.load("threshold")
    if threshold.ndim:
        raise ValueError(f"threshold has shape {tuple(threshold.shape)}, expected one number")
    n_latents = len(tensors[1]) if tensors[1].ndim else 1
    return Dictionary(
        *tensors, "batch_topk", _whole(given, "k"), threshold.expand(n_latents), subtract_bias=True
    )


def _gated(given: Given) -> Dictionary:
    return Dictionary(
        _transposed(given, "encoder.weight"),
        given.load("gate_bias"),
        _transposed(given, "decoder.weight"),
        given.load("decoder_bias"),
        "gated",
        subtract_bias=True,
        b_mag=given.load("mag_bias"),
        r_mag=given.load("r_mag"),
    )


def _whole(given: Given, name: str) -> int:
    found = given.load(name)
    if found.ndim or found.is_floating_point() or found.is_complex():
        raise ValueError(f"{name} is not a whole number")
    return int(found)


def _transposed(given: Given, name: str) -> Tensor:
    found = given.load(name)
    if found.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(found.shape)}, expected two axes")
    return found.t()

"""SAELens: ``sae_weights.safetensors`` and ``cfg.json``, as of sae-lens 6.54.

Read are the architectures standard, topk, jumprelu, gated, and the training folders of batchtopk
and matryoshka_batchtopk; what follows from the decoder's norms is folded into the weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pydantic
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.faults import in_short
from sae_cli.core.options import Positive, Width
from sae_cli.results.interchange.dictionary import COUNTED, Dictionary, Kind
from sae_cli.results.interchange.given import Given
from sae_cli.results.interchange.written import Exported, as_safetensors, matrices

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
# The version whose files these are; without one SAELens takes a file for one of before 6.0.
VERSION = "6.54.12"
TENSORS = frozenset({"W_enc", "b_enc", "W_dec", "b_dec"})
GATED = frozenset({"W_enc", "b_gate", "b_mag", "r_mag", "W_dec", "b_dec"})
# The architecture, and the name of its own tensor if it has one.
READ: dict[str, tuple[Kind, tuple[str | None, ...]]] = {
    "standard": ("relu", (None,)),
    "topk": ("topk", (None,)),
    "jumprelu": ("jumprelu", ("threshold", "log_threshold")),
    "gated": ("gated", (None,)),
    "batchtopk": ("batch_topk", ("topk_threshold",)),
    "matryoshka_batchtopk": ("batch_topk", ("topk_threshold",)),
}


class _Config(pydantic.BaseModel):
    """What of ``cfg.json`` says how codes are computed."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True)

    d_in: Width
    d_sae: Width
    architecture: str = "standard"
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    rescale_acts_by_decoder_norm: bool = False
    k: Width | Positive | None = None
    activation_fn: str = "relu"
    activation_fn_str: str = "relu"


def owns(given: Given) -> bool:
    """Tell whether a file has the names of SAELens, which others have in .pt and .npz."""
    return given.suffix == ".safetensors" and {"W_enc", "W_dec"} <= given.names


def read(given: Given) -> Dictionary:
    """Read a dictionary.

    Raises:
        ConfigError: it does what a dictionary here does not.
        ValueError: it is damaged.
    """
    config = _config(given)
    kind, extras = READ[config.architecture]
    extra = next((name for name in extras if name is None or name in given.names), None)
    common = GATED if kind == "gated" else TENSORS
    expected = common | ({extra} if extra else set())
    if _names(given) != expected or (extra is None and None not in extras):
        raise ValueError(
            f"it holds the tensors {', '.join(sorted(given.names))}, and architecture "
            f"{config.architecture} has {', '.join(sorted(filter(None, {*common, *extras})))}"
        )
    weights = given.matrices()
    if tuple(weights[0].shape) != (config.d_in, config.d_sae):
        raise ValueError(
            f"W_enc has shape {tuple(weights[0].shape)}, and {CONFIG} says d_in={config.d_in} and "
            f"d_sae={config.d_sae}"
        )
    dictionary = Dictionary(*weights, "relu", subtract_bias=config.apply_b_dec_to_input)
    if config.rescale_acts_by_decoder_norm and kind in COUNTED:
        # Codes, and what thresholds are compared with, are those of atoms of unit norm.
        tiny = torch.finfo(torch.float32).tiny
        dictionary = dictionary.with_codes_times(dictionary.norms.clamp_min(tiny))
    threshold = None if extra is None else _threshold(extra, given.load(extra), config.d_sae)
    b_mag, r_mag = (given.load(n) if kind == "gated" else None for n in ("b_mag", "r_mag"))
    k = _k(config, kind)
    return replace(dictionary, kind=kind, k=k, threshold=threshold, b_mag=b_mag, r_mag=r_mag)


def write(exported: Exported) -> dict[str, bytes]:
    """Give the content of the two files."""
    dictionary = exported.dictionary
    own: dict[str, Any] = {"architecture": "standard"}
    if dictionary.threshold is not None:
        # SAELens, too, has the codes of use of a BatchTopK as those of a JumpReLU.
        own = {"architecture": "jumprelu"}
    elif dictionary.kind == "gated":
        own = {"architecture": "gated"}
    elif dictionary.k is not None:
        own = {"architecture": "topk", "k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    config = {
        "d_in": dictionary.n_features,
        "d_sae": dictionary.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.subtract_bias,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": VERSION, **exported.about()},
    }
    text = json.dumps(config | own, indent=2) + "\n"
    return {WEIGHTS: as_safetensors(matrices(dictionary)), CONFIG: text.encode()}


def _config(given: Given) -> _Config:
    """Read ``cfg.json``; raise ConfigError for what codes here are not made with."""
    found = given.config(CONFIG)
    if found is None:
        raise ConfigError(
            f"{given.path} needs {CONFIG} of SAELens beside it: the same tensors are different "
            "models with and without apply_b_dec_to_input; put it there"
        )
    try:
        config = _Config.model_validate(found)
    except pydantic.ValidationError as error:
        raise ValueError(f"{CONFIG}: {in_short(error)}") from None
    old = {config.activation_fn, config.activation_fn_str} - {"relu"}
    others = {
        "architecture": config.architecture if config.architecture not in READ else None,
        "normalize_activations": _unless_none(config.normalize_activations),
        "reshape_activations": _unless_none(config.reshape_activations),
        "activation_fn": min(old) if old and config.architecture == "standard" else None,
    }
    for key, value in others.items():
        if value is not None:
            raise ConfigError(
                f"{given.path.with_name(CONFIG)}: {key} is {value}, which is not read; "
                f"architectures are {', '.join(READ)}, and the other keys are none and relu"
            )
    return config


def _names(given: Given) -> frozenset[str]:
    """Give the names of the tensors, without scales of 1, which old files have."""
    scale = "scaling_factor"
    if scale in given.names and bool((given.load(scale) == 1.0).all()):
        return given.names - {scale}
    return given.names


def _unless_none(value: str) -> str | None:
    return None if value == "none" else value


def _k(config: _Config, kind: Kind) -> int | None:
    if kind not in COUNTED:
        return None
    # That of BatchTopK is a mean over examples, and may be a fraction.
    if config.k is None or (kind == "topk" and config.k != int(config.k)):
        raise ValueError(f"{CONFIG}: k is {config.k}, expected a whole number")
    return max(1, round(config.k))


def _threshold(name: str, found: Tensor, n_latents: int) -> Tensor:
    """Give thresholds ``(n_latents,)`` of what the file holds."""
    if name == "log_threshold":
        return found.exp()
    # A training folder of BatchTopK has one for all, in float64.
    return found.expand(n_latents) if name == "topk_threshold" and found.ndim == 0 else found

"""sparsify (eai-sparsify 1.3): ``sae.safetensors`` and ``cfg.json``, one folder a hook point."""

from __future__ import annotations

from sae_cli.core.errors import ConfigError
from sae_cli.results.interchange.dictionary import Dictionary
from sae_cli.results.interchange.given import Given

WEIGHTS, CONFIG = "sae.safetensors", "cfg.json"
TENSORS = frozenset({"encoder.weight", "encoder.bias", "W_dec", "b_dec"})


def owns(given: Given) -> bool:
    """Tell whether a file has these tensors."""
    return given.suffix == ".safetensors" and given.names >= TENSORS


def read(given: Given) -> Dictionary:
    """Read a dictionary.

    Raises:
        ConfigError: it is a transcoder, has another activation, or its configuration is missing.
        ValueError: it is damaged.
    """
    config = given.config(CONFIG)
    if config is None:
        raise ConfigError(
            f"{given.path} needs {CONFIG} of sparsify beside it, which says k; put it there"
        )
    others = {
        "activation": config.get("activation", "topk") != "topk",
        "transcode": config.get("transcode", False) is not False,
        "skip_connection": config.get("skip_connection", False) is not False,
    }
    if any(others.values()) or given.names != TENSORS:
        raise ConfigError(
            f"{given.path}: {', '.join(key for key, odd in others.items() if odd) or 'W_skip'} "
            "makes more of it than a sparse auto-encoder; only activation=topk without transcode "
            "and skip_connection is read"
        )
    k, weight = config.get("k", 32), given.load("encoder.weight")
    if type(k) is not int or weight.ndim != 2:
        raise ValueError(f"k is {k}, and encoder.weight has shape {tuple(weight.shape)}")
    return Dictionary(
        weight.t(),
        given.load("encoder.bias"),
        given.load("W_dec"),
        given.load("b_dec"),
        "topk",
        k,
        subtract_bias=True,
    )

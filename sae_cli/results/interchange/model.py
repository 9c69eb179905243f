"""Between a ``Dictionary`` and our own ``AutoEncoder``, which computes its codes."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import NON_NEGATIVE
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.gated import Gated
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures.sae import SubtractBias
from sae_cli.model.autoencoder import AutoEncoder, unpack
from sae_cli.results.interchange.dictionary import Dictionary, Kind

ALLOWED = (
    "an exported model has one linear layer each way: architecture=sae, or dense with "
    "hidden_sizes=[], and activation=relu, topk, batch_topk, jumprelu or gated"
)


@final
class Threshold(Activation):
    """Pre-codes above a threshold that is not learned, ``(n,)``; 0 elsewhere."""

    name = "threshold"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, kind: Kind, k: int | None, threshold: Tensor) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.k = k
        self.threshold: Tensor
        self.register_buffer("threshold", threshold.clamp_min(0.0))

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return torch.where(pre_codes > self.threshold, pre_codes, 0.0)


def build_autoencoder(dictionary: Dictionary, input_shape: tuple[int, ...]) -> AutoEncoder:
    """Build an auto-encoder with the dictionary's codes, in evaluation mode.

    Args:
        input_shape: of one example, with as many values as the dictionary has features.
    """
    encoder = _linear(dictionary.w_enc, dictionary.b_enc)
    decoder = _linear(dictionary.w_dec, dictionary.b_dec)
    centring = [SubtractBias(decoder)] if dictionary.subtract_bias else []
    return AutoEncoder(
        nn.Sequential(nn.Flatten(), *centring, encoder),
        _activation(dictionary, encoder),
        nn.Sequential(decoder, nn.Unflatten(1, input_shape)),
        Pointwise("identity"),
        dictionary.n_latents,
    ).eval()


def take_dictionary(model: AutoEncoder) -> Dictionary:
    """Take the dictionary out of an auto-encoder: its weights as they are used.

    Raises:
        ConfigError: it is not of one linear layer each way, or has another activation.
    """
    parts = [part for part in unpack(model.encoder) if not isinstance(part, nn.Flatten)]
    subtract_bias = len(parts) > 1 and isinstance(parts[0], SubtractBias)
    layer = parts[-1]
    decoder = model.linear_decoder()
    if len(parts) != 1 + subtract_bias or not isinstance(layer, nn.Linear):
        raise ConfigError(f"its encoder is not one linear layer; {ALLOWED}")
    if decoder is None or not _is_identity(model.output_activation):
        raise ConfigError(f"its decoder is not one linear layer with identity output; {ALLOWED}")
    if model.infer is not None:
        raise ConfigError(
            f"its codes are inferred, which no other library does; give inference=none: {ALLOWED}"
        )
    weight, bias = decoder
    n_latents = layer.out_features
    return Dictionary(
        layer.weight.t(),
        torch.zeros(n_latents) if layer.bias is None else layer.bias,
        weight.t(),
        torch.zeros(len(weight)) if bias is None else bias,
        subtract_bias=subtract_bias,
        **_of_activation(model.activation, n_latents),
    )


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Make a layer that computes ``x weight + bias``; its first weights take no memory."""
    n_in, n_out = weight.shape
    layer = nn.Linear(n_in, n_out, device="meta")
    layer.weight = nn.Parameter(weight.t().contiguous())
    layer.bias = nn.Parameter(bias.clone())
    return layer


def _activation(dictionary: Dictionary, encoder: nn.Linear) -> Activation:
    if dictionary.r_mag is not None and dictionary.b_mag is not None:
        gated = Gated()
        gated.gate_by_(encoder)
        gated.log_scale = nn.Parameter(dictionary.r_mag)
        gated.magnitude_bias = nn.Parameter(dictionary.b_mag)
        return gated
    if dictionary.threshold is not None:
        return Threshold(dictionary.kind, dictionary.k, dictionary.threshold)
    return Pointwise("relu") if dictionary.k is None else TopK(k=dictionary.k)


def _of_activation(activation: Activation, n_latents: int) -> dict[str, Any]:
    """Give what an activation says of a ``Dictionary``; raise ConfigError for any other one."""
    match activation:
        case Pointwise(name="relu"):
            return {"kind": "relu"}
        case TopK(k=k):
            return {"kind": "topk", "k": k}
        case BatchTopK(k=k, threshold=threshold):
            return {"kind": "batch_topk", "k": k, "threshold": threshold.expand(n_latents)}
        case JumpReLU(threshold=threshold):
            return {"kind": "jumprelu", "threshold": threshold}
        case Threshold(kind=kind, k=k, threshold=threshold):
            return {"kind": kind, "k": k, "threshold": threshold}
        case Gated(log_scale=r_mag, magnitude_bias=b_mag):
            return {"kind": "gated", "r_mag": r_mag, "b_mag": b_mag}
    raise ConfigError(f"its activation is {activation.name}; {ALLOWED}")


def _is_identity(activation: Activation) -> bool:
    return isinstance(activation, Pointwise) and activation.name == "identity"

"""A sparse auto-encoder as every library of the field holds it: five tensors and an activation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

Kind = Literal["relu", "topk", "batch_topk", "jumprelu", "gated"]

# Their codes are the pre-codes above a threshold of each latent.
THRESHOLDED: frozenset[Kind] = frozenset({"batch_topk", "jumprelu"})
# Their codes are limited to a number of each example, on average or exactly.
COUNTED: frozenset[Kind] = frozenset({"topk", "batch_topk"})


@final
@dataclass(frozen=True)
class Dictionary:
    """``x_hat = codes W_dec + b_dec`` with ``codes = activation(x W_enc + b_enc)``.

    Tensors are float32 and contiguous, whatever they are made of.

    Attributes:
        w_enc: ``(d, n)``.
        b_enc: ``(n,)``; of the gate, for ``gated``.
        w_dec: ``(n, d)``, a row for each atom.
        b_dec: ``(d,)``.
        kind: of the activation; the codes of ``batch_topk`` are those of use, by thresholds.
        k: active codes of an example, for ``topk`` and ``batch_topk``.
        threshold: ``(n,)``, for ``batch_topk`` and ``jumprelu``; one below 0 acts as 0.
        subtract_bias: the encoder sees ``x - b_dec`` in place of ``x``.
        b_mag, r_mag: ``(n,)``, for ``gated``: codes ``max(exp(r_mag) x W_enc + b_mag, 0)`` where
            the gate ``x W_enc + b_enc`` is above 0.

    Raises:
        ValueError: shapes or numbers do not fit each other.
    """

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    b_dec: Tensor
    kind: Kind
    k: int | None = None
    threshold: Tensor | None = None
    subtract_bias: bool = False
    b_mag: Tensor | None = None
    r_mag: Tensor | None = None

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is of {tensor.dtype}, which is not floating point")
        if self.w_enc.ndim != 2 or 0 in self.w_enc.shape:
            raise ValueError(f"the encoder's weight has shape {tuple(self.w_enc.shape)}")
        d, n = self.w_enc.shape
        shapes = {"w_enc": (d, n), "b_enc": (n,), "w_dec": (n, d), "b_dec": (d,)}
        for name, tensor in self.tensors.items():
            expected = shapes.get(name, (n,))
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, and {expected} goes with {d} "
                    f"features and {n} latents"
                )
        if (self.threshold is not None) != (self.kind in THRESHOLDED):
            raise ValueError(f"thresholds are missing, or {self.kind} has none")
        if {self.b_mag is not None, self.r_mag is not None} != {self.kind == "gated"}:
            raise ValueError(f"b_mag or r_mag is missing, or {self.kind} has none")
        if (self.k is not None) != (self.kind in COUNTED) or not 1 <= (self.k or 1) <= n:
            raise ValueError(f"k is {self.k} with {n} latents and the activation {self.kind}")
        for name, tensor in self.tensors.items():
            object.__setattr__(self, name, tensor.detach().to(torch.float32).contiguous())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by their names here."""
        names = ("w_enc", "b_enc", "w_dec", "b_dec", "threshold", "b_mag", "r_mag")
        found = {name: getattr(self, name) for name in names}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @property
    def n_features(self) -> int:
        return self.w_enc.shape[0]

    @property
    def n_latents(self) -> int:
        return self.w_enc.shape[1]

    @property
    def norms(self) -> Tensor:
        """The norms of the atoms, ``(n,)``."""
        norms: Tensor = torch.linalg.vector_norm(self.w_dec, dim=1)
        return norms

    def with_bias_subtracted(self, subtract_bias: bool) -> Dictionary:
        """Give the same function with or without ``x - b_dec``: the encoder's bias makes up."""
        if subtract_bias == self.subtract_bias:
            return self
        shift = (1.0 if subtract_bias else -1.0) * (self.b_dec @ self.w_enc)
        b_mag = self.b_mag
        if b_mag is not None and self.r_mag is not None:
            b_mag = b_mag + self.r_mag.exp() * shift
        return replace(self, b_enc=self.b_enc + shift, b_mag=b_mag, subtract_bias=subtract_bias)

    def of_values(self, scale: float, centre: Tensor | None = None) -> Dictionary:
        """Give the dictionary with the same codes of data that are ``scale`` times as large, then
        moved by ``centre`` ``(d,)``."""
        plain = self.with_bias_subtracted(True)
        b_dec = plain.b_dec * scale
        scaled = replace(
            plain,
            w_enc=plain.w_enc / scale,
            w_dec=plain.w_dec * scale,
            b_dec=b_dec if centre is None else b_dec + centre,
        )
        return scaled.with_bias_subtracted(self.subtract_bias)

    def with_codes_times(self, scale: Tensor) -> Dictionary:
        """Give the same reconstructions from codes that are ``scale`` ``(n,)`` times as large."""
        return replace(
            self,
            w_enc=self.w_enc * scale,
            b_enc=self.b_enc * scale,
            w_dec=self.w_dec / scale[:, None],
            threshold=None if self.threshold is None else self.threshold * scale,
            b_mag=None if self.b_mag is None else self.b_mag * scale,
        )

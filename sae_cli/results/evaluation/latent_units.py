"""Latents of a variational auto-encoder: which it uses, and what each says of an example."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

# Burda, Grosse and Salakhutdinov (2016), appendix C.
ACTIVE_VARIANCE = 0.01


@final
class LatentUnits:
    """Running sums over the pre-codes of a split, in float64.

    Pre-codes are the means of all latents, then the logarithms of their variances.
    """

    def __init__(self, n_latents: int) -> None:
        self._n = 0
        self._first: Tensor | None = None
        self._sum = torch.zeros(n_latents, dtype=torch.float64)
        self._square = torch.zeros(n_latents, dtype=torch.float64)
        self._kl = torch.zeros(n_latents, dtype=torch.float64)

    def update(self, pre_codes: Tensor) -> None:
        """Add a batch ``(batch, 2 * n_latents)``."""
        mean, log_variance = pre_codes.double().cpu().chunk(2, dim=1)
        if self._first is None:
            self._first = mean[0].clone()
        # The first example is subtracted, so that a mean that never moves has no variance at all.
        moved = mean - self._first
        self._n += len(mean)
        self._sum += moved.sum(0)
        self._square += moved.square().sum(0)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
        self._kl += kl.sum(0)

    @property
    def variances(self) -> Tensor:
        """The variance over examples of each latent's mean, ``(n_latents,)``."""
        variances: Tensor = self._square / self._n - (self._sum / self._n).square()
        return variances

    @property
    def kl(self) -> Tensor:
        """The mean over examples of each latent's KL divergence from N(0, 1), in nats,
        ``(n_latents,)``."""
        return self._kl / self._n

    def result(self) -> dict[str, Any]:
        """Give ``active_units``, the number of latents whose mean varies by more than 0.01 (Burda
        et al. 2016); ``kl``, the sum over latents; and ``kl_per_latent``."""
        return {
            "active_units": int((self.variances > ACTIVE_VARIANCE).sum()),
            "kl": float(self.kl.sum()),
            "kl_per_latent": self.kl.tolist(),
        }

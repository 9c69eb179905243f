"""Pools of neighbouring latents: L2 norms over windows of a line, a ring, a sheet or a torus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_PAIRED


@final
class Pools(nn.Module):
    """``sqrt(sum over the pool of w_k z_k^2 + epsilon)`` for each pool of latents.

    Latents stand on a sheet of any number of dimensions, in row-major order. Pools are boxes of
    ``size`` that begin at multiples of ``stride`` along each axis. Where pools overlap, a latent
    counts in several of them.

    With ``wrap`` an axis closes to a ring: pools begin at every multiple of the stride below the
    sheet's width, and the last ones continue at its beginning. So 16 latents with stride 3 have
    pools that begin at 0, 3, ..., 15, the last of them 1 before the first. Without ``wrap`` all
    pools lie wholly on the sheet.

    Args:
        sheet: width of the sheet along each axis; their product is the number of latents.
        size: width of a pool along each axis.
        stride: distance from one pool to the next along each axis.
        wrap: each axis is a ring (two axes: a torus).
        sigma: standard deviation, in latents, of Gaussian weights ``w`` around the pool's centre
            (1 at the centre); None gives all latents of a pool the weight 1.
        epsilon: added inside the root, so that the gradient is finite where a whole pool is 0.

    Raises:
        ConfigError: the three do not have one number for each axis, or a pool does not fit.
    """

    def __init__(
        self,
        sheet: Sequence[int],
        size: Sequence[int],
        stride: Sequence[int],
        wrap: bool,
        sigma: float | None,
        epsilon: float,
    ) -> None:
        super().__init__()
        _check(sheet, size, stride)
        self.sheet = tuple(sheet)
        self.n_latents = math.prod(sheet)
        self.wrap = wrap
        self.epsilon = epsilon
        matrices = [
            _along_an_axis(*axis, wrap, sigma) for axis in zip(sheet, size, stride, strict=True)
        ]
        # A Gaussian of a distance is a product over axes, so the weights are one as well.
        for axis, matrix in enumerate(matrices):
            self.register_buffer(f"axis_{axis}", matrix, persistent=False)
        self.shape = tuple(len(matrix) for matrix in matrices)
        self.n_pools = math.prod(self.shape)
        # The meta device, on which a network is only described, has no values to look at.
        known = [matrix for matrix in matrices if not matrix.is_meta]
        self.overlap = any(bool(((m > 0).sum(0) > 1).any()) for m in known)
        self.covers_all = all(bool((m > 0).any(0).all()) for m in known)

    def forward(self, codes: Tensor) -> Tensor:
        """Norms ``(batch, n_pools)`` of codes ``(batch, product of the sheet)``."""
        pooled = codes.square().reshape(len(codes), *self.sheet)
        for axis in range(len(self.sheet)):
            # Each turn moves the first axis to the end, so that the last restores the order.
            pooled = pooled.movedim(1, -1) @ self.get_buffer(f"axis_{axis}").t()
        norms: Tensor = (pooled.flatten(1) + self.epsilon).sqrt()
        return norms

    def members(self) -> Tensor:
        """The weight of each latent in each pool: ``(n_pools, product of the sheet)``."""
        every = torch.ones(1, 1, device=self.get_buffer("axis_0").device)
        for axis in range(len(self.sheet)):
            every = torch.kron(every, self.get_buffer(f"axis_{axis}"))
        return every


def _along_an_axis(width: int, size: int, stride: int, wrap: bool, sigma: float | None) -> Tensor:
    """The weight of each place of one axis in each pool along it: ``(n_pools, width)``."""
    offsets = torch.arange(size)
    starts = torch.arange(0, width if wrap else width - size + 1, stride)
    matrix = torch.zeros(len(starts), width)
    weights = torch.ones(size)
    if sigma is not None:
        weights = torch.exp(-0.5 * ((offsets - (size - 1) / 2) / sigma) ** 2)
    places = (starts[:, None] + offsets) % width
    return matrix.scatter_(1, places, weights.expand(len(starts), size))


def _check(sheet: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> None:
    given = (
        f"penalty.size={list(size)} and penalty.stride={list(stride)} on a sheet of {list(sheet)}"
    )
    if not len(sheet) == len(size) == len(stride) > 0:
        raise ConfigError(
            f"{given}: give each {len(sheet)} numbers, one for each axis of the sheet"
        )
    if max(sheet) > MAX_PAIRED:
        raise ConfigError(f"{given}: give an axis at most {MAX_PAIRED} latents")
    if any(pool > width for pool, width in zip(size, sheet, strict=True)):
        raise ConfigError(
            f"{given}: a pool is wider than the sheet; give at most its width along each axis"
        )
    if any(step > pool for step, pool in zip(stride, size, strict=True)):
        raise ConfigError(
            f"{given}: latents between the pools would be in none; give a stride of at most the "
            "size along each axis"
        )

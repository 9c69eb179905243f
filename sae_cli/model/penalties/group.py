"""Group sparsity: few pools of latents are on, and within a pool any number of latents."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Annotated, final

from pydantic import Field
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_PAIRED, Count, NonNegative, Positive
from sae_cli.model.penalties.penalty import PENALTIES, ExamplePenalty, Penalty
from sae_cli.model.penalties.pools import Pools
from sae_cli.model.penalties.roles import OnSheet, Shaped
from sae_cli.model.proximal import Proximal

Axes = Annotated[list[Annotated[Count, Field(le=MAX_PAIRED)]], Field(min_length=1, max_length=3)]
"""A number for each axis of a sheet of latents."""


@final
@PENALTIES.register("group")
class Group(ExamplePenalty, Proximal, Shaped, OnSheet):
    """``sum over pools of (sqrt(sum over the pool of w_k z_k^2 + epsilon) - sqrt(epsilon))``.

    Averaged over examples. The group lasso (Yuan and Lin 2006) on codes; with overlapping pools
    on a sheet, neighbours become alike (Kavukcuoglu, Ranzato, Fergus and LeCun 2009). The norms
    are not squared, because squares would be a ridge, which makes no code zero.

    Where pools overlap, a latent counts once in each of its pools: a pool of 6x6 with stride 3
    makes the penalty about four times that of disjoint pools. ``sqrt(epsilon)`` is subtracted from
    each norm, so that codes of zero cost nothing.

    Args:
        weight: multiplies the penalty.
        sheet: how latents lie; None leaves it to the architecture (maps of a convolution,
            otherwise a line).
        size, stride, wrap, sigma, epsilon: of :class:`~sae_cli.model.penalties.pools.Pools`.

    Raises:
        ConfigError: the pools do not fit the sheet, or leave latents out.
    """

    def __init__(
        self,
        *,
        weight: NonNegative,
        sheet: Axes | None,
        size: Axes,
        stride: Axes,
        wrap: bool,
        sigma: Positive | None,
        epsilon: Positive,
    ) -> None:
        super().__init__(weight=weight)
        self.size, self.stride = size, stride
        self.wrap, self.sigma, self.epsilon = wrap, sigma, epsilon
        self._follows_codes = sheet is None
        if sheet is not None:
            self._lie_on(sheet)

    def _lie_on(self, sheet: Sequence[int]) -> None:
        self.sheet = tuple(sheet)
        self.pools = Pools(sheet, self.size, self.stride, self.wrap, self.sigma, self.epsilon)
        self.exact_shrink = self.sigma is None and not self.pools.overlap
        if not self.pools.covers_all:
            raise ConfigError(
                f"penalty.size={self.size} and penalty.stride={self.stride} leave latents at the "
                f"end of penalty.sheet={list(sheet)} out of every pool; give penalty.wrap=true, or "
                "pools that end with the sheet"
            )

    def for_codes(self, shape: tuple[int, ...]) -> Penalty:
        if self._follows_codes:
            # This is a copy, because the codes of a layer below have their own sheet.
            bound = copy.deepcopy(self)
            bound._lie_on(shape)
            return bound
        n_latents, n_places = math.prod(shape), self.pools.n_latents
        if n_latents != n_places:
            raise ConfigError(
                f"penalty=group needs codes in the {n_places} places of penalty.sheet="
                f"{list(self.sheet)}, and the model makes {n_latents} codes; choose penalty.sheet "
                f"with a product of {n_latents}, or give {n_places} latents"
            )
        return self

    def per_example(self, codes: Tensor) -> Tensor:
        norms: Tensor = self.pools(codes)
        return (norms - math.sqrt(self.epsilon)).sum(1)

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Block soft thresholding (Yuan and Lin 2006) of disjoint pools of equal weights: each
        pool's norm falls by ``step * weight``, at most to 0. ``epsilon`` is taken as 0.
        """
        members = self.pools.members()
        norms = (codes.square() @ members.t()).sqrt()
        kept = (1.0 - step * self.weight / norms).clamp_min(0.0)
        # A pool of zeros and a step of 0 make 0/0.
        return codes * (kept.nan_to_num(0.0) @ members)

"""Proximal gradient steps on batches of small problems: ISTA, FISTA, and their step size.

Beck and Teboulle 2009, A fast iterative shrinkage-thresholding algorithm for linear inverse
problems. Nothing is read back from the device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Move = Callable[[Tensor, Tensor], Tensor]
"""From codes and a step size to the codes after a proximal gradient step."""

# The bound of the largest eigenvalue of G takes the power G^(2^8).
DOUBLINGS = 8

# A step grows by this factor after one that lowered the energy.
GROWTH = 1.5


class Proximal(ABC):
    """A convex penalty of each example that has a formula for its proximal step.

    Attributes:
        exact_shrink: whether the formula holds with the options that were given.
    """

    exact_shrink: bool = True

    @abstractmethod
    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` after a proximal step on the weighted penalty of each
        example: the ``z`` with the least ``|z - codes|^2 / 2 + step * weight * penalty(z)``.

        Args:
            step: how far; a number, or ``(batch, 1)``.
        """


class Majorised(ABC):
    """A penalty of each example that is bounded, from any codes on, by one with a formula."""

    @abstractmethod
    def shrink_from(self, before: Tensor, codes: Tensor, step: float | Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` after a proximal step on the bound.

        Args:
            before: ``(batch, n_latents)``, where the bound equals the penalty: the codes that a
                step against the gradient of the rest of the energy moved to ``codes``.
            step: how far; a number, or ``(batch, 1)``.
        """


def largest_eigenvalue(dictionary: Tensor) -> Tensor:
    """Give an upper bound of the largest eigenvalue of ``D'D``, a scalar.

    It is ``trace(G^p)^(1/p)`` with G the smaller of ``D'D`` and ``DD'`` (n by n) and p = 256:
    never too small, and too large by a factor of at most n^(1/p), 1.6 % for n = 64. Unlike an
    eigenvalue solver it does not wait for a GPU.
    """
    wide = dictionary.shape[1] > dictionary.shape[0]
    power = dictionary @ dictionary.t() if wide else dictionary.t() @ dictionary
    tiny = torch.finfo(power.dtype).tiny
    logarithm = power.new_zeros(())
    for doubling in range(DOUBLINGS + 1):
        trace = power.diagonal().sum().clamp_min(tiny)
        logarithm = logarithm + trace.log() / 2**doubling
        power = power / trace
        power = power @ power
    return logarithm.exp()


def gradient_of_squares(x: Tensor, dictionary: Tensor, n_uses: int) -> Callable[[Tensor], Tensor]:
    """Give a function from codes z ``(batch, n_latents)`` to each example's gradient of
    ``|x - D z|^2``.

    It goes through the residual, or through ``D'D`` if ``n_uses`` uses take fewer multiplications.
    """
    n_features, n_latents = dictionary.shape
    by_residual = 2 * n_uses * len(x) * n_features
    by_gram = n_uses * len(x) * n_latents + (n_latents + len(x)) * n_features
    if by_residual < by_gram:
        return lambda codes: 2.0 * (codes @ dictionary.t() - x) @ dictionary
    gram, correlations = 2.0 * dictionary.t() @ dictionary, 2.0 * x @ dictionary
    return lambda codes: codes @ gram - correlations


def ista(move: Move, codes: Tensor, step: Tensor, n_steps: int) -> Iterator[Tensor]:
    """Take steps of size 1/L, which never raise the energy if the proximal step is exact."""
    for _ in range(n_steps):
        codes = move(codes, step)
        yield codes


def fista(move: Move, codes: Tensor, step: Tensor, n_steps: int) -> Iterator[Tensor]:
    """Take accelerated steps, which may raise the energy on the way (equations 4.1 to 4.3)."""
    ahead, t = codes, 1.0
    for _ in range(n_steps):
        before, codes = codes, move(ahead, step)
        t_before, t = t, (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0
        ahead = codes + (t_before - 1.0) / t * (codes - before)
        yield codes


def careful_ista(
    move: Move, energies: Callable[[Tensor], Tensor], codes: Tensor, step: Tensor, n_steps: int
) -> Iterator[Tensor]:
    """Take ISTA's steps with backtracking, for penalties that are not convex or have no exact
    proximal step.

    An example takes a step only if its energy falls. Its next step is then longer, up to 1/L;
    otherwise it is half as long.
    """
    steps = step.expand(len(codes), 1)
    now = energies(codes)
    for _ in range(n_steps):
        tried = move(codes, steps)
        then = energies(tried)
        falls = then < now
        codes = torch.where(falls[:, None], tried, codes)
        now = torch.where(falls, then, now)
        steps = torch.where(falls[:, None], torch.minimum(GROWTH * steps, step), 0.5 * steps)
        yield codes

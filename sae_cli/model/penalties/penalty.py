"""Penalties on codes: what makes an auto-encoder sparse.

Every penalty is a function of a **mean over examples**: ``per_example`` gives the quantity that is
averaged, ``of_mean`` turns the average into the penalty. Training averages over the mini-batch;
evaluation averages over the whole split, so that its value does not depend on a batch size.
Penalties sum over latents. ``weight`` multiplies the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, Interval

PENALTIES: Registry[Penalty | None] = Registry("penalty")


class Penalty(nn.Module, ABC):
    """A term of the loss that looks at codes alone.

    Attributes:
        weight: multiplies the penalty in the loss.
        divide_by_batch_size: divide the weight by the training batch size, as Keras 2 does with
            every activity penalty that is a function of the batch mean.
        of: what it is a function of.
        exact_shrink: ``shrink`` is the exact proximal step of a convex penalty.
        target: the target activity, for those penalties that have one.
        sheet: how many latents lie along each axis, for those penalties of neighbours.
        wrap: whether each axis is a ring.
        parents: ``(n_latents,)`` int64, for those penalties of a tree; -1 for a root.
        requires: the range that codes must lie in for the penalty to mean something.
        reason: why.
    """

    weight: float
    divide_by_batch_size: bool = False
    of: Literal["codes", "pre_codes"] = "codes"
    exact_shrink: bool = False
    target: float | None = None
    sheet: tuple[int, ...] | None = None
    wrap: bool = False
    parents: Tensor | None = None
    requires: Interval = REALS
    reason: str = ""

    @abstractmethod
    def per_example(self, codes: Tensor) -> Tensor:
        """From codes ``(batch, n_latents)``, what is averaged over examples: ``(batch, ...)``."""

    @abstractmethod
    def of_mean(self, mean: Tensor) -> Tensor:
        """The unweighted penalty (a scalar) from the mean of ``per_example``."""

    def forward(self, codes: Tensor) -> Tensor:
        """The unweighted penalty of one batch of codes."""
        return self.of_mean(self.per_example(codes).mean(0))

    def for_codes(self, shape: tuple[int, ...]) -> Penalty:
        """The penalty of codes that lie in this shape; itself, but for those that depend on it.

        Raises:
            ConfigError: its options do not fit so many codes.
        """
        return self

    def growth(self) -> Tensor | None:
        """The share of its weight that it has reached in training, or None for all of it."""
        return None

    def after_step_(self) -> None:
        """To be called after each step of training."""

    def of_each(self, codes: Tensor) -> Tensor:
        """``(batch,)``: the unweighted penalty of each example by itself."""
        each: Tensor = torch.vmap(self.of_mean)(self.per_example(codes))
        return each

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` after a proximal step on the weighted penalty of each
        example: the ``z`` with the least ``|z - codes|^2 / 2 + step * weight * penalty(z)``.

        Where a penalty has no closed form it is one step against the penalty's gradient.

        Args:
            step: how far; a number, or ``(batch, 1)``.
        """
        # Evaluations ask for it in inference mode, whose tensors have no gradients.
        with torch.inference_mode(False), torch.enable_grad():
            leaf = codes.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.of_each(leaf).sum(), leaf)
        return codes - step * self.weight * gradient

    def shrink_from(self, before: Tensor, codes: Tensor, step: float | Tensor) -> Tensor:
        """``shrink`` on the way from the codes ``before``, for those penalties that are bounded by
        a simpler one there.

        Args:
            before: ``(batch, n_latents)``, the codes that a step against the gradient of the rest
                of the energy moved to ``codes``.
        """
        return self.shrink(codes, step)

    def value_and_gradient(self, codes: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The unweighted penalty, and the gradient of ``weight`` times it.

        Penalties whose step time counts override it, operation by operation as autograd goes, so
        that not a bit differs.

        Returns:
            a scalar, and what broadcasts to the codes ``(batch, n_latents)``.
        """
        with torch.enable_grad():
            leaf = codes.detach().requires_grad_()
            value = self(leaf)
            (gradient,) = torch.autograd.grad(weight * value, leaf)
        return value.detach(), gradient

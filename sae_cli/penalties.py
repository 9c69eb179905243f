"""Penalties on codes: what makes an auto-encoder sparse.

Every penalty is a function of a **mean over examples**: ``per_example`` gives the quantity that is
averaged, ``of_mean`` turns the average into the penalty. Training averages over the mini-batch;
evaluation averages over the whole split, so that its value does not depend on a batch size.
Penalties sum over latents. ``weight`` multiplies the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.options import NonNegative, OpenUnit
from sae_cli.registry import Registry
from sae_cli.shapes import NON_NEGATIVE, REALS, UNIT, Interval

PENALTIES: Registry[Penalty | None] = Registry("penalty")

# Keeps the KL and its gradient finite where the mean activity is exactly 0 or 1.
EPSILON = 1e-7


class Penalty(nn.Module, ABC):
    """A term of the loss that looks at codes alone.

    Attributes:
        weight: multiplies the penalty in the loss.
        divide_by_batch_size: divide the weight by the training batch size, as Keras 2 does with
            every activity penalty that is a function of the batch mean.
        target: the target activity, for those penalties that have one.
        requires: the range that codes must lie in for the penalty to mean something.
        reason: why.
        exact_shrink: ``shrink`` is the exact proximal step of a convex penalty.
    """

    weight: float
    divide_by_batch_size: bool = False
    target: float | None = None
    requires: Interval = REALS
    reason: str = ""
    exact_shrink: bool = False

    @abstractmethod
    def per_example(self, codes: Tensor) -> Tensor:
        """From codes ``(batch, n_latents)``, what is averaged over examples: ``(batch, ...)``."""

    @abstractmethod
    def of_mean(self, mean: Tensor) -> Tensor:
        """The unweighted penalty (a scalar) from the mean of ``per_example``."""

    def forward(self, codes: Tensor) -> Tensor:
        """The unweighted penalty of one batch of codes."""
        return self.of_mean(self.per_example(codes).mean(0))

    def of_each(self, codes: Tensor) -> Tensor:
        """``(batch,)``: the unweighted penalty of each example by itself."""
        each: Tensor = torch.vmap(self.of_mean)(self.per_example(codes))
        return each

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` after a proximal step on ``weight`` times the penalty of
        each example: near ``codes``, and cheaper.

        Where a penalty has no closed form it is one step against the penalty's gradient.

        Args:
            step: how far; a number, or ``(batch, 1)``.
        """
        with torch.enable_grad():
            leaf = codes.detach().requires_grad_()
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

    def bind(self, n_latents: int) -> None:
        """Called once, before training, by a penalty's builder: how many codes there will be.

        Raises:
            ConfigError: the penalty does not fit so many.
        """

    def after_step_(self) -> None:
        """Called after each step of the optimizer, without gradients: puts what the penalty has
        learned back where it is allowed to be."""

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


@PENALTIES.register("none")
def none() -> None:
    """No penalty."""


@final
@PENALTIES.register("l1")
class L1(Penalty):
    """``mean over examples of sum_j |a_j|`` (Olshausen and Field 1996; Tibshirani 1996).

    Scaling codes down and the decoder up lowers it for free: see ``unit_norm_decoder`` of the
    architecture.
    """

    exact_shrink = True

    def __init__(self, *, weight: NonNegative) -> None:
        super().__init__()
        self.weight = weight

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum(1)

    def of_mean(self, mean: Tensor) -> Tensor:
        return mean

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Soft thresholding."""
        return codes.sgn() * (codes.abs() - step * self.weight).clamp_min(0.0)

    def value_and_gradient(self, codes: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        return self(codes), codes.sgn().mul_(codes.new_full((), weight) / len(codes))


@final
@PENALTIES.register("l2")
class L2(Penalty):
    """``mean over examples of sum_j a_j^2``: shrinks every code, makes none exactly zero."""

    exact_shrink = True

    def __init__(self, *, weight: NonNegative) -> None:
        super().__init__()
        self.weight = weight

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.square().sum(1)

    def of_mean(self, mean: Tensor) -> Tensor:
        return mean

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Every code is divided by the same number."""
        return codes / (1.0 + 2.0 * self.weight * step)


class TargetPenalty(Penalty, ABC):
    """A penalty on how far each latent's mean activity is from a target."""

    def __init__(
        self, *, weight: NonNegative, target: OpenUnit, divide_by_batch_size: bool
    ) -> None:
        super().__init__()
        self.weight = weight
        self.target: float = target
        self.divide_by_batch_size = divide_by_batch_size

    def per_example(self, codes: Tensor) -> Tensor:
        return codes


@final
@PENALTIES.register("kl")
class KL(TargetPenalty):
    """``sum_j KL(target || mean activity of latent j)`` between Bernoulli variables.

    ``p log(p/q) + (1-p) log((1-p)/(1-q))`` with p the target and q the observed mean (Ng 2011,
    CS294A lecture notes on sparse auto-encoders). q is clamped to [1e-7, 1 - 1e-7].
    """

    requires = UNIT
    reason = "the KL compares mean activities with a probability"

    def __init__(
        self, *, weight: NonNegative, target: OpenUnit, divide_by_batch_size: bool
    ) -> None:
        super().__init__(weight=weight, target=target, divide_by_batch_size=divide_by_batch_size)
        self._p: Tensor
        self.register_buffer("_p", torch.tensor([[target], [1.0 - target]]), persistent=False)

    def of_mean(self, mean: Tensor) -> Tensor:
        q = mean.clamp(EPSILON, 1.0 - EPSILON)
        p = self.target
        on = p * (p / q).log()
        off = (1.0 - p) * ((1.0 - p) / (1.0 - q)).log()
        return (on + off).sum()

    def value_and_gradient(self, codes: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        mean = codes.mean(0)
        q = mean.clamp(EPSILON, 1.0 - EPSILON)
        # First row for being on, second for being off.
        one_over = torch.stack((q, 1.0 - q)).reciprocal_()
        ratio = one_over * self._p
        value = (ratio.log().mul_(self._p)).sum(0).sum()
        on, off = (weight * self._p / ratio).mul_(self._p).mul_(one_over.square_())
        return value, (off - on).div_(len(codes)).mul_(mean == q)


@final
@PENALTIES.register("squared_target")
class SquaredTarget(TargetPenalty):
    """``sum_j (mean activity of latent j - target)^2``: unlike the KL it stays bounded."""

    requires = NON_NEGATIVE
    reason = "a mean says how often a latent is on only where codes are not negative"

    def of_mean(self, mean: Tensor) -> Tensor:
        return (mean - self.target).square().sum()

"""Activations that keep the largest pre-codes: of each example, or of a whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Width
from sae_cli.core.ranks.latents import sharing_latents
from sae_cli.core.ranks.together import of_all, rank_of_all, rows_of_batch
from sae_cli.core.shapes import NON_NEGATIVE
from sae_cli.model.activations.activation import ACTIVATIONS, Activation, Learning

# One of so many values is looked at first, and so many times the expected number of it is kept. A
# prime does not fall into step with the width of a code.
SAMPLED_OF, MARGIN = 61, 2
# Rows of fewer values together are looked through at once: groups would take longer, and the order
# of what is kept, which the last bits of a run depend on, has always been this one.
MANY = 1 << 16

Rate = Annotated[float, Field(gt=0, le=1)]
"""The share of a mean that each new value makes up."""


@final
@ACTIVATIONS.register("topk")
class TopK(Activation):
    """``ReLU(TopK_k(pre-codes))``: at most ``k`` codes of each example are active.

    Makhzani and Frey 2013, k-sparse autoencoders; Gao et al. 2024, Scaling and evaluating sparse
    autoencoders. Of equal pre-codes no more are kept than make ``k``. Fewer codes are active where
    fewer pre-codes are positive.
    """

    name = "topk"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, *, k: Width) -> None:
        super().__init__()
        self.k = k

    def fit_to_(self, widths: Sequence[int]) -> None:
        _check_k(self.k, widths)

    def kept(self, pre_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Values and places of the codes that are kept, both ``(batch, k)``, in no order; other
        codes are 0.

        Where several processes hold latents, these are its own largest, 0 where they are not among
        the largest of all.
        """
        indices = _largest_of_rows(pre_codes.detach(), min(self.k, pre_codes.shape[1]))
        values = pre_codes.gather(1, indices)
        if sharing_latents() is not None:
            values = torch.where(_among_all(values.detach(), self.k), values, 0.0)
        return values.relu(), indices

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        values, indices = self.kept(pre_codes)
        return torch.zeros_like(pre_codes).scatter(1, indices, values)

    def extra_repr(self) -> str:
        return f"k={self.k}"


@final
@ACTIVATIONS.register("batch_topk")
class BatchTopK(Activation, Learning):
    """``ReLU`` of the ``k * batch`` largest pre-codes of a batch: ``k`` active codes on average.

    Bussmann, Leask and Nanda 2024, BatchTopK sparse autoencoders. So that the codes of an example
    do not depend on its batch, those of use are the pre-codes above a threshold. It is learned from
    the training steps, as the exponential mean of each step's smallest positive code; before the
    first step it is 0, and the first step sets it.

    Args:
        k: active codes of an example, on average over a training batch.
        threshold_rate: the share of each step in the threshold.

    Attributes:
        threshold: a scalar, saved with the model.
    """

    name = "batch_topk"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, *, k: Width, threshold_rate: Rate) -> None:
        super().__init__()
        self.k = k
        self.threshold_rate = threshold_rate
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(()))

    def fit_to_(self, widths: Sequence[int]) -> None:
        _check_k(self.k, widths)
        self.threshold = torch.zeros(())

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return torch.where(pre_codes > self.threshold, pre_codes, 0.0)

    def kept(self, pre_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Values and places of the codes that a training step keeps, both ``(k * batch,)``, in no
        order; a place is a number in the flat batch. Other codes are 0.

        Of a batch whose rows or latents several processes share, these are its own among the
        largest of all.
        """
        n = rows_of_batch(len(pre_codes))
        flat = pre_codes.flatten()
        values, indices = _largest(flat, min(self.k * n, len(flat)))
        if n > len(pre_codes) or sharing_latents() is not None:
            among = _among_all(values.detach()[None], self.k * n)[0]
            values, indices = values[among], indices[among]
        return values.relu(), indices

    def in_training(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        values, indices = self.kept(pre_codes)
        codes = torch.zeros_like(pre_codes).flatten().scatter(0, indices, values)
        return codes.view_as(pre_codes)

    def learn_(self, codes: Tensor) -> None:
        positive = torch.where(codes > 0.0, codes, torch.inf)
        # Of a batch that several processes share, one may have none of the largest codes.
        own = positive.amin() if positive.numel() else positive.new_tensor(torch.inf)
        smallest = _of_every(own[None])[0].amin()
        # Without a positive code there is nothing to learn.
        smallest = torch.where(smallest.isfinite(), smallest, self.threshold)
        mean = torch.lerp(self.threshold, smallest, self.threshold_rate)
        self.threshold.copy_(torch.where(self.threshold > 0.0, mean, smallest))

    def extra_repr(self) -> str:
        return f"k={self.k}"


def _of_every(values: Tensor) -> tuple[Tensor, int]:
    """The values of every process that shares out rows or latents, ``(size, *shape)``, and which of
    them are those of this one."""
    ranks = sharing_latents()
    if ranks is None:
        return of_all(values), rank_of_all()
    return torch.stack(ranks.gather(values)), ranks.rank


def _among_all(values: Tensor, n: int) -> Tensor:
    """Which of the largest values of this process ``(rows, at most n)`` are among the ``n`` largest
    of each row in all processes."""
    rows, width = values.shape
    missing = values.new_full((rows, n - width), -torch.inf)
    found, rank = _of_every(torch.cat([values, missing], 1))
    return largest_of_all(found, n)[rank, :, :width]


def largest_of_all(found: Tensor, n: int) -> Tensor:
    """Which values ``(size, rows, width)`` are the ``n`` largest of each row over the processes, in
    the same shape. Of values equal to the least, those of earlier processes come first."""
    flat = found.transpose(0, 1).flatten(1)
    least = flat.topk(n, dim=1, sorted=False).values.amin(1, keepdim=True)
    # What is not a number is kept, so that the loss is not one either.
    above, equal = ~(flat <= least), flat == least
    kept = above | (equal & (equal.cumsum(1) <= n - above.sum(1, keepdim=True)))
    return kept.view(kept.shape[0], len(found), -1).transpose(0, 1)


def _largest_of_rows(values: Tensor, k: int) -> Tensor:
    """Places of the ``k`` largest of each row of ``values`` ``(n, width)``, in no order.

    They lie in the ``k`` groups of each row whose largest values are largest, so that in place of a
    row one looks through the maxima of its groups, and through the members of ``k`` of them.
    """
    n, width = values.shape
    n_groups = _number_of_groups(width, k)
    # Maxima are quick for a processor; a GPU's own selection reads a row only once.
    if values.is_cuda or n_groups is None or values.numel() < MANY:
        return values.topk(k, dim=1, sorted=False).indices
    grouped = values.view(n, -1, n_groups)
    groups = grouped.amax(1).topk(k, dim=1, sorted=False).indices
    members = grouped.gather(2, groups[:, None].expand(n, grouped.shape[1], k)).flatten(1)
    among = members.topk(k, dim=1, sorted=False).indices
    return among // k * n_groups + groups.gather(1, among % k)


def _number_of_groups(width: int, k: int) -> int | None:
    """Into how many equal groups to divide a row so that maxima and members are few together; None
    where the whole row is as quick."""
    in_group = 2 ** round(math.log2(width / k) / 2)
    few = width // in_group + k * in_group <= width // 2
    return width // in_group if few and width % in_group == 0 else None


def _largest(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The ``n`` largest of ``values`` ``(m,)`` and their places, in no order.

    Of millions of values a sample tells which cannot be among them, leaving a fifth of the work.
    """
    # A GPU would have to wait for the number of those that are left.
    if values.is_cuda or n * SAMPLED_OF > len(values) or n < SAMPLED_OF:
        return values.topk(n, sorted=False)
    sample = values[::SAMPLED_OF]
    bound = sample.topk(MARGIN * n // SAMPLED_OF, sorted=False).values.amin()
    places = (values > bound).nonzero().flatten()
    if len(places) < n:
        return values.topk(n, sorted=False)
    largest, among = values[places].topk(n, sorted=False)
    return largest, places[among]


def _check_k(k: int, widths: Sequence[int]) -> None:
    if k > min(widths):
        raise ConfigError(
            f"activation.k={k} keeps more codes than the {min(widths)} latents of the model; give "
            "at most that many, or more latents"
        )

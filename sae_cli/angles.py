"""Angles between what a latent looks for and what it adds."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def part_angles(rows: Tensor, columns: Tensor) -> Tensor:
    """``(n_latents,)``, in radians: the angle between each encoder row and its decoder column.

    In a discriminative recurrent network small ones belong to parts of the input and large ones to
    categories (Rolfe and LeCun 2013, section 4: the two lie below and above about 0.5 and 0.7).

    Args:
        rows: ``(n_latents, n_features)``.
        columns: ``(n_features, n_latents)``.
    """
    cosines = (F.normalize(rows, dim=1) * F.normalize(columns, dim=0).t()).sum(1)
    return cosines.clamp(-1.0, 1.0).arccos()

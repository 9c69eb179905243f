"""The gradients of ``revival=auxk`` by hand, which touch only dead latents.

Which these are is read back from the device, so that it is one that does not have to be waited for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sae_cli.training.revivals.auxk import AuxK


def add_of_dead(
    term: AuxK,
    seen: Tensor,
    target: Tensor,
    error: Tensor,
    encoder: nn.Linear,
    atoms: Tensor,
    gradients: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Compute the unweighted term of a batch, a scalar, and add its gradients to others.

    Args:
        seen, target: ``(batch, n_features)``, what the encoder sees, and what to reconstruct.
        error: ``(batch, n_features)``, ``x_hat - target``.
        atoms: ``(n_latents, n_features)``.
        gradients: those of the loss with respect to encoder rows ``(n_latents, n_features)``,
            encoder biases ``(n_latents,)`` and atoms; changed in place.
    """
    dead = term.dead.nonzero().flatten()
    if not len(dead):
        return error.new_zeros(())
    own = atoms[dead]
    codes = _codes(F.linear(seen, encoder.weight[dead], encoder.bias[dead]), term.k_aux)
    scale = term.scale(error, target)
    left = torch.addmm(error, codes, own)
    mean = left.square().sum() * scale
    of_guess = left.mul_(2.0 * term.weight * scale)
    of_codes = (of_guess @ own.t()).mul_(codes > 0.0)
    for gradient, of_own in zip(
        gradients, (of_codes.t() @ seen, of_codes.sum(0), codes.t() @ of_guess), strict=True
    ):
        gradient.index_add_(0, dead, of_own)
    return mean


def _codes(pre_codes: Tensor, k: int) -> Tensor:
    """Keep the ``k`` largest of each row of pre-codes ``(batch, n_dead)`` that are positive."""
    if k >= pre_codes.shape[1]:
        return pre_codes.relu_()
    values, places = pre_codes.topk(k, dim=1, sorted=False)
    return torch.zeros_like(pre_codes).scatter_(1, places, values.relu_())

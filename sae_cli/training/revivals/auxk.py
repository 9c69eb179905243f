"""Revival by a term of the loss in which dead latents reconstruct what the others leave."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sae_cli.core.options import Count, NonNegative, Width
from sae_cli.core.ranks.together import in_proportion, mean_of_batch
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.further import FurtherTerm
from sae_cli.model.reconstruction import Reconstruction
from sae_cli.training.revivals.revival import REVIVALS, Revival, check_pre_codes


@final
@REVIVALS.register("auxk")
class AuxK(Revival, FurtherTerm):
    """A term in which dead latents reconstruct what the others leave (Gao et al. 2024).

    The residual ``e = x - x_hat``, without a gradient, is reconstructed from the ``k_aux`` dead
    latents with the largest pre-codes, ``e_hat = D ReLU(TopK(pre-codes of dead latents))``. The
    term is ``|e_hat - e|^2 / |e - mean e|^2``, both summed over the batch; 0 where that is no
    number, and where no latent is dead. In the authors' loss it stands beside
    ``|e|^2 / |x - mean x|^2``. Ours has the squared error as the reconstruction reduces it, so that
    the term is multiplied by ``|x - mean x|^2`` reduced likewise, to have the same balance.

    Args:
        weight: multiplies the term.
        k_aux: dead latents of each example; None for half as many as the data have features.
        dead_after: examples without activity that make a latent dead.
        scale_free: whether to multiply by the variation of the data.
    """

    in_training_only = True

    def __init__(
        self,
        autoencoder: AutoEncoder,
        reconstruction: Reconstruction,
        *,
        weight: NonNegative,
        k_aux: Width | None,
        dead_after: Count,
        scale_free: bool = False,
    ) -> None:
        super().__init__(autoencoder, dead_after)
        self.weight = weight
        self.scale_free = scale_free
        self._reconstruction = reconstruction
        # In a tuple the network is not registered a second time.
        self._autoencoder = (autoencoder,)
        n_features, n_latents = check_pre_codes(autoencoder, "auxk")
        self.k_aux = min(n_latents, max(1, n_features // 2) if k_aux is None else k_aux)

    def mean(self, passed: Pass, target: Tensor) -> Tensor:
        dead = self.dead
        residual = (target - passed.x_hat).flatten(1).detach()
        pre_codes = passed.pre_codes.masked_fill(~dead, -torch.inf)
        values, indices = pre_codes.topk(self.k_aux, dim=1, sorted=False)
        codes = torch.zeros_like(pre_codes).scatter(1, indices, values.relu())
        linear = self._autoencoder[0].linear_decoder()
        assert linear is not None
        error = (codes @ linear[0].t() - residual).square().sum()
        # Without a gradient, so that none is made of a division by 0.
        return error * torch.where(dead.any(), self.scale(residual, target), 0.0)

    def scale(self, residual: Tensor, target: Tensor) -> Tensor:
        """What the squared error over a batch is multiplied by.

        Args:
            residual: ``(batch, n_features)``.
            target: ``(batch, *input_shape)``.
        """
        one: float | Tensor = 1.0
        if self.scale_free:
            one = _variation(target.flatten(1)) / self._reconstruction.divisor(target)
        return (one / _variation(residual)).nan_to_num(0.0, 0.0, 0.0)


def _variation(rows: Tensor) -> Tensor:
    """Sum the squared distances of rows ``(n, n_features)`` from their mean over the batch."""
    mean = mean_of_batch(rows.mean(0), len(rows))
    return in_proportion((rows - mean).square().sum(), len(rows))

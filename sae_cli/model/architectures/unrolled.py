"""An encoder that is a few steps of sparse coding, with weights of its own.

    z^0 = 0,   z^{t+1} = activation(E x + S z^t - b),   t = 0 ... T - 1

with ``E``, ``S`` and ``b`` shared by all steps. With ReLU, ``E = a D'`` and ``S = I - a D'D`` these
are the steps of non-negative ISTA; learned weights need fewer steps (Gregor and LeCun 2010, LISTA;
Rolfe and LeCun 2013, DrSAE). Rolfe and LeCun divide the learning rate of each shared weight by the
number of its uses, as ``rate_by_uses`` does; without it all weights have the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative, Positive, Steps, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, code_width
from sae_cli.model.architectures.dictionary import linear_decoder
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init
from sae_cli.model.layers import bound_
from sae_cli.model.proximal import largest_eigenvalue
from sae_cli.model.rates import OwnRates


@final
class UnrolledEncoder(nn.Module, OwnRates):
    """An encoder of ``T - 1`` steps, and the pre-codes ``E x + S z^{T-1} - b`` of the last one.

    Attributes:
        filters: a layer whose weight is E, ``(n_latents, n_features)``.
        interactions: a layer whose weight is ``S - I``, ``(n_latents, n_latents)``: its values are
            small, and a code keeps itself without learning to.
        threshold: b, ``(n_latents,)``.
    """

    def __init__(
        self,
        n_features: int,
        n_latents: int,
        n_steps: int,
        activation: Activation,
        max_encoder_norm: float | None,
        rate_by_uses: bool,
    ) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.rate_by_uses = rate_by_uses
        self.max_row_norm = (
            None if max_encoder_norm is None or n_steps == 1 else max_encoder_norm / (n_steps - 1)
        )
        # PyTorch draws weights in vain; set_from_dictionary_ overwrites them.
        self.filters = nn.Linear(n_features, n_latents, bias=False)
        self.interactions = nn.Linear(n_latents, n_latents, bias=False)
        self.threshold = nn.Parameter(torch.zeros(n_latents))
        bound_(self.filters, self.max_row_norm, dim=1)
        # In a tuple the auto-encoder's activation is not registered a second time.
        self._activation = (activation,)

    def forward(self, x: Tensor) -> Tensor:
        (activation,) = self._activation
        drive = self.filters(x.flatten(1)) - self.threshold
        # The first step sees the input alone because z^0 = 0.
        pre_codes: Tensor = drive
        for _ in range(self.n_steps - 1):
            codes = activation(pre_codes)
            pre_codes = drive + codes + self.interactions(codes)
        return pre_codes

    def rates(self) -> Iterable[tuple[nn.Parameter, float]]:
        """Give one over the number of uses: E and b are used in every step, S in all but one."""
        if not self.rate_by_uses:
            return
        for shared, n_uses in (
            (self.filters, self.n_steps),
            (self.interactions, max(1, self.n_steps - 1)),
        ):
            yield from ((parameter, 1.0 / n_uses) for parameter in shared.parameters())
        yield self.threshold, 1.0 / self.n_steps

    @torch.no_grad()
    def set_from_dictionary_(self, dictionary: Tensor, l1_weight: float) -> None:
        """Set the weights so that the steps are non-negative ISTA on
        ``|x - D z|^2 + l1_weight |z|_1``.

        ``E = a D'``, ``S = I - a D'D``, ``b = a l1_weight / 2``, where ``a`` is one over the
        largest eigenvalue of ``D'D``, or less if the bound on the rows of E demands it: ISTA allows
        any smaller step.

        Args:
            dictionary: D, ``(n_features, n_latents)``.
        """
        step = 1.0 / largest_eigenvalue(dictionary)
        if self.max_row_norm is not None:
            step = torch.minimum(step, self.max_row_norm / dictionary.norm(dim=0).max())
        # With a norm bound, filters.weight is computed from this parameter. The new value respects
        # the bound.
        next(self.filters.parameters()).copy_(step * dictionary.t())
        self.interactions.weight.copy_(-step * dictionary.t() @ dictionary)
        self.threshold.copy_((step * l1_weight / 2.0).expand_as(self.threshold))


@ARCHITECTURES.register("unrolled")
def unrolled(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    n_latents: Width | None,
    expansion_factor: Positive | None,
    n_steps: Steps,
    l1_weight: NonNegative,
    max_decoder_norm: Positive | None,
    max_encoder_norm: Positive | None,
    init: Init,
    rate_by_uses: bool = False,
) -> AutoEncoder:
    """Build a recurrent encoder that begins as ISTA on its own linear decoder.

    Args:
        shape: of the data.
        activation: after each step; with ReLU the start is non-negative ISTA.
        generator: draws the initial dictionary.
        n_latents: width of the code; None to give a factor instead.
        expansion_factor: width of the code as a multiple of the number of input features, or None.
        n_steps: T; with 1 it is a dense auto-encoder of one layer.
        l1_weight: of the ISTA that the encoder begins as.
        max_decoder_norm: bound on the norm of each atom, or None.
        max_encoder_norm: the norm of each row of E is bounded by this over ``T - 1``, so that
            gradients do not explode through the steps; with None, or T = 1, it is free.
        init: how the initial dictionary is drawn.
        rate_by_uses: divide the learning rates of E, S and b by how many steps use them.

    Raises:
        ConfigError: both widths are given, or neither; or the activation needs several pre-codes
            for each latent.

    """
    if activation.pre_codes_per_latent != 1:
        raise ConfigError(
            f"architecture=unrolled feeds codes back and needs one pre-code for each, and "
            f"activation={activation.name} needs more; choose activation=relu"
        )
    width = code_width(shape, n_latents, expansion_factor)
    encoder = UnrolledEncoder(
        shape.n_features, width, n_steps, activation, max_encoder_norm, rate_by_uses
    )
    decoder = linear_decoder(shape, width, False, init, generator)
    layer = decoder[0]
    assert isinstance(layer, nn.Linear)
    bound_(layer, max_decoder_norm, dim=0)
    if not layer.weight.is_meta:
        encoder.set_from_dictionary_(layer.weight, l1_weight)
    return AutoEncoder(encoder, activation, decoder, Pointwise("identity"), width)

"""Penalties of modern sparse auto-encoders: L1 and tanh weighed by decoder norms, and L0.

With ``|d_j|`` the norm of atom j, a column of a linear decoder. A code scaled by c < 1 and its atom
scaled by 1/c give the same reconstruction and the same ``|f_j| |d_j|``, so norms need no bound.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative, Positive, WarmUpSteps
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.penalties.activity import L1
from sae_cli.model.penalties.penalty import PENALTIES, Penalty
from sae_cli.model.penalties.roles import OfEachLatent
from sae_cli.model.penalties.targeting import Targeting
from sae_cli.model.proximal import Proximal


@final
class Atoms:
    """The atoms of a network with a linear decoder, as they are when they are asked for.

    Args:
        given: the option that needs them, for the message.

    Raises:
        ConfigError: the decoder is another one.
    """

    def __init__(self, autoencoder: AutoEncoder, given: str) -> None:
        if autoencoder.linear_decoder() is None:
            raise ConfigError(
                f"{given} needs a decoder of one linear layer, whose columns are atoms, and this "
                "architecture has another one here; choose architecture=sae, or another penalty"
            )
        self._autoencoder = autoencoder

    def norms(self) -> Tensor:
        """The L2 norm of each atom, ``(n_latents,)``."""
        linear = self._autoencoder.linear_decoder()
        assert linear is not None
        norms: Tensor = torch.linalg.vector_norm(linear[0], dim=0)
        return norms


def _thresholds_of(autoencoder: AutoEncoder, given: str) -> JumpReLU:
    """Give the activation of a network, which has thresholds.

    Raises:
        ConfigError: it has none.
    """
    activation = autoencoder.activation
    if not isinstance(activation, JumpReLU):
        raise ConfigError(
            f"{given} needs thresholds that are trained, and activation={activation.name} has "
            "none; choose activation=jumprelu, or another penalty"
        )
    return activation


@PENALTIES.register("l1")
def l1(
    *,
    weight: NonNegative,
    decoder_norms: bool = False,
    warmup_steps: WarmUpSteps = 0,
    target_l0: Positive | None = None,
) -> Penalty:
    """Make the L1 penalty, plain or of codes that are weighed by the norms of their atoms."""
    if not decoder_norms and not warmup_steps and target_l0 is None:
        return L1(weight=weight)
    return WeighedL1(
        weight=weight,
        decoder_norms=decoder_norms,
        warmup_steps=warmup_steps,
        target_l0=target_l0,
    )


@final
class WeighedL1(Targeting, Proximal, OfEachLatent):
    """``mean over examples of sum_j |f_j| |d_j|`` (Anthropic 2024, April update on sparse
    autoencoders), or without the norms, with a weight that may grow.

    Args:
        decoder_norms: whether codes are multiplied by the norms of their atoms.
    """

    def __init__(
        self,
        *,
        weight: NonNegative,
        decoder_norms: bool,
        warmup_steps: WarmUpSteps,
        target_l0: Positive | None,
    ) -> None:
        super().__init__(weight=weight, warmup_steps=warmup_steps, target_l0=target_l0)
        self.decoder_norms = decoder_norms
        self._atoms: Atoms | None = None

    def for_network(self, autoencoder: AutoEncoder) -> Penalty:
        bound = WeighedL1(
            weight=self.weight,
            decoder_norms=self.decoder_norms,
            warmup_steps=self.warmup_steps,
            target_l0=self.target_l0,
        )
        bound.active_above = autoencoder.activation.active_above
        if self.decoder_norms:
            bound._atoms = Atoms(autoencoder, "penalty.decoder_norms=true")
        return bound

    def per_example(self, codes: Tensor) -> Tensor:
        return self._weighed(codes.abs()).sum(1)

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Soft thresholding, with the whole weight."""
        by = self._weighed(torch.ones_like(codes)) * step * self.weight
        by = by if self.log_factor is None else by * self.log_factor.exp()
        return codes.sgn() * (codes.abs() - by).clamp_min(0.0)

    def _weighed(self, magnitudes: Tensor) -> Tensor:
        return magnitudes if self._atoms is None else magnitudes * self._atoms.norms()


@final
@PENALTIES.register("l0")
class L0(Targeting, OfEachLatent):
    """``mean over examples of the number of active latents``, for ``activation=jumprelu``.

    Its gradient goes to the thresholds alone, through the kernel of the activation
    (Rajamanoharan et al. 2024).
    """

    of = "pre_codes"
    # Thresholds move at a pace of their own, which the weight only turns: it has to turn early.
    hold = 7.0
    settling = 350.0

    def __init__(
        self,
        *,
        weight: NonNegative,
        warmup_steps: WarmUpSteps,
        target_l0: Positive | None = None,
    ) -> None:
        super().__init__(weight=weight, warmup_steps=warmup_steps, target_l0=target_l0)
        self._activation: tuple[JumpReLU] | None = None

    def for_network(self, autoencoder: AutoEncoder) -> Penalty:
        bound = L0(weight=self.weight, warmup_steps=self.warmup_steps, target_l0=self.target_l0)
        # In a tuple the network's activation is not registered a second time.
        bound._activation = (_thresholds_of(autoencoder, "penalty=l0"),)
        return bound

    def per_example(self, codes: Tensor) -> Tensor:
        assert self._activation is not None
        return self._activation[0].active(codes).sum(1)


@final
@PENALTIES.register("tanh")
class Tanh(Targeting, OfEachLatent):
    """``mean over examples of sum_j tanh(scale |f_j| |d_j|)``, a smooth count of active latents.

    Anthropic 2025, January update on dictionary learning. With ``pre_code_weight`` there is a
    second sum beside it, for ``activation=jumprelu``: ``sum_j ReLU(theta_j - x_j) |d_j|`` over
    pre-codes x below their thresholds, whose gradient revives latents that are never active.

    Args:
        weight: multiplies both sums.
        scale: c; with a larger one the penalty is closer to L0.
        pre_code_weight: of the second sum, beside a weight of 1 of the first; 0 leaves it out.
    """

    # As those of L0; codes without thresholds shrink, as those of L1.
    hold = L0.hold
    settling = L0.settling

    def __init__(
        self,
        *,
        weight: NonNegative,
        scale: Positive,
        pre_code_weight: NonNegative,
        warmup_steps: WarmUpSteps,
        target_l0: Positive | None = None,
    ) -> None:
        super().__init__(weight=weight, warmup_steps=warmup_steps, target_l0=target_l0)
        self.scale = scale
        self.pre_code_weight = pre_code_weight
        self.of = "pre_codes" if pre_code_weight else "codes"
        self._atoms: Atoms | None = None
        self._activation: tuple[JumpReLU] | None = None

    def for_network(self, autoencoder: AutoEncoder) -> Penalty:
        bound = Tanh(
            weight=self.weight,
            scale=self.scale,
            pre_code_weight=self.pre_code_weight,
            warmup_steps=self.warmup_steps,
            target_l0=self.target_l0,
        )
        bound.active_above = autoencoder.activation.active_above
        bound._atoms = Atoms(autoencoder, "penalty=tanh")
        if not isinstance(autoencoder.activation, JumpReLU):
            bound.hold, bound.settling = Targeting.hold, Targeting.settling
        if self.pre_code_weight:
            given = f"penalty.pre_code_weight={self.pre_code_weight:g}"
            bound._activation = (_thresholds_of(autoencoder, given),)
        return bound

    def per_example(self, codes: Tensor) -> Tensor:
        assert self._atoms is not None
        norms = self._atoms.norms()
        if self._activation is None:
            return self._count(codes, norms)
        (activation,) = self._activation
        below = (activation.threshold - codes).relu() * norms
        return self._count(activation(codes), norms) + self.pre_code_weight * below.sum(1)

    def _count(self, codes: Tensor, norms: Tensor) -> Tensor:
        # Unlike that of abs, the slope at 0 is 1: a code that a threshold cuts off has one, too.
        magnitudes = torch.where(codes < 0.0, -codes, codes)
        return torch.tanh(self.scale * magnitudes * norms).sum(1)

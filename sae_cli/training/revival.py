"""Revival of dead latents: those active in none of the last ``dead_after`` training examples."""

from __future__ import annotations

from abc import ABC
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, NonNegative, Positive, Width
from sae_cli.core.ranks.together import in_proportion, mean_of_batch, of_all, rows_of_batch
from sae_cli.core.registry import Registry
from sae_cli.model.autoencoder import AutoEncoder, Pass, unpack
from sae_cli.model.further import FurtherTerm, Watcher
from sae_cli.training.optimizers import Optimizer

REVIVALS: Registry[Revival | None] = Registry("revival")


class Revival(nn.Module, Watcher, ABC):
    """A count, for each latent, of the examples since it was last active.

    Args:
        autoencoder: whose latents are revived.
        dead_after: examples without activity that make a latent dead.

    Attributes:
        idle: ``(n_latents,)`` int64, examples since the latent was last active or revived.
        revived: int64, latents that were dead and became active, or were drawn anew, since the last
            report.
    """

    def __init__(self, autoencoder: AutoEncoder, dead_after: int) -> None:
        super().__init__()
        self.dead_after = dead_after
        self.active_above = autoencoder.activation.active_above
        self.idle: Tensor
        self.register_buffer("idle", torch.zeros(autoencoder.n_latents, dtype=torch.int64))
        self.revived: Tensor
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))

    @property
    def dead(self) -> Tensor:
        """Which latents are dead, ``(n_latents,)``."""
        return self.idle >= self.dead_after

    @torch.no_grad()
    def watch_(self, passed: Pass) -> None:
        active = of_all((passed.codes.abs() > self.active_above).any(0)).any(0)
        self.revived.add_((active & self.dead).sum())
        self.idle.add_(rows_of_batch(len(passed.codes))).masked_fill_(active, 0)

    def report_(self) -> dict[str, float]:
        revived = int(self.revived)
        self.revived.zero_()
        return {"revived": revived}


@REVIVALS.register("none")
def none(autoencoder: AutoEncoder) -> None:
    """No revival."""


@final
@REVIVALS.register("auxk")
class AuxK(Revival, FurtherTerm):
    """A term in which dead latents reconstruct what the others leave (Gao et al. 2024).

    The residual ``e = x - x_hat``, without a gradient, is reconstructed from the ``k_aux`` dead
    latents with the largest pre-codes, ``e_hat = D ReLU(TopK(pre-codes of dead latents))``. The
    term is ``|e_hat - e|^2 / |e - mean e|^2``, both summed over the batch; 0 where that is no
    number, and where no latent is dead.

    Args:
        weight: multiplies the term.
        k_aux: dead latents of each example; None for half as many as the data have features.
        dead_after: examples without activity that make a latent dead.
    """

    in_training_only = True

    def __init__(
        self,
        autoencoder: AutoEncoder,
        *,
        weight: NonNegative,
        k_aux: Width | None,
        dead_after: Count,
    ) -> None:
        super().__init__(autoencoder, dead_after)
        self.weight = weight
        # In a tuple the network is not registered a second time.
        self._autoencoder = (autoencoder,)
        n_features, n_latents = _check_pre_codes(autoencoder, "auxk")
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
        mean = mean_of_batch(residual.mean(0), len(target))
        variation = in_proportion((residual - mean).square().sum(), len(target))
        # Without a gradient, so that none is made of a division by 0.
        scale = torch.where(dead.any(), 1.0 / variation, 0.0).nan_to_num(0.0, 0.0, 0.0)
        return error * scale


@final
@REVIVALS.register("resample")
class Resample(Revival):
    """New atoms for dead latents, at given steps (Bricken et al. 2023, Towards monosemanticity).

    Examples of the step's batch are drawn without replacement, in proportion to their squared
    error. The atom of a dead latent becomes ``x - b`` at unit norm, where b is the decoder's bias;
    its encoder row the same direction, ``encoder_scale`` times as long as those of living latents
    are on average; its encoder bias 0. What the optimizer keeps of them is reset. Dead latents that
    outnumber the examples wait for the next time.

    Args:
        every: steps from one resampling to the next.
        until: the last step that resamples; None for the last of the training.
        encoder_scale: length of new encoder rows, beside that of living latents.
        dead_after: examples without activity that make a latent dead.
    """

    def __init__(
        self,
        autoencoder: AutoEncoder,
        *,
        every: Count,
        until: Count | None,
        encoder_scale: Positive,
        dead_after: Count,
    ) -> None:
        super().__init__(autoencoder, dead_after)
        self.every = every
        self.until = until
        self.encoder_scale = encoder_scale
        _check_pre_codes(autoencoder, "resample")
        # In a tuple the layers are not registered a second time.
        self._layers = _one_layer_each_way(autoencoder)

    def is_due(self, step: int) -> bool:
        """Whether to resample after so many steps."""
        return step % self.every == 0 and (self.until is None or step <= self.until)

    @torch.no_grad()
    def resample_(
        self, x: Tensor, errors: Tensor, optimizer: Optimizer, generator: Generator
    ) -> None:
        """Give new atoms to dead latents.

        Args:
            x: ``(batch, n_features)``.
            errors: ``(batch,)``, the squared error of each example.
            optimizer: whose state of the changed weights is reset.
            generator: draws the examples, on the device.
        """
        encoder, decoder = self._layers
        # A loss that has diverged is noticed at the end of the epoch.
        errors = torch.where(errors.isfinite(), errors, 0.0)
        dead = self.dead.nonzero().flatten()[: int((errors > 0.0).sum())]
        if not len(dead):
            return
        drawn = torch.multinomial(errors.double(), len(dead), generator=generator)
        directions = x[drawn] if decoder.bias is None else x[drawn] - decoder.bias
        directions = nn.functional.normalize(directions, dim=1)
        living = torch.linalg.vector_norm(encoder.weight, dim=1)[~self.dead]
        length = living.mean() if len(living) else torch.ones_like(errors[0])
        rows, atoms = _parameter(encoder), _parameter(decoder)
        rows[dead] = self.encoder_scale * length * directions
        atoms[:, dead] = directions.t()
        for kept in optimizer.state_of(rows):
            kept[dead] = 0.0
        for kept in optimizer.state_of(atoms):
            kept[:, dead] = 0.0
        if encoder.bias is not None:
            encoder.bias[dead] = 0.0
            for kept in optimizer.state_of(encoder.bias):
                kept[dead] = 0.0
        self.revived.add_(len(dead))
        self.idle[dead] = 0


def _check_pre_codes(autoencoder: AutoEncoder, name: str) -> tuple[int, int]:
    """Give the numbers of features and latents of a network whose decoder is linear, and whose
    activation makes each code of one pre-code.

    Raises:
        ConfigError: it is another one.
    """
    activation = autoencoder.activation
    if activation.samples:
        raise ConfigError(
            f"revival={name} needs one pre-code for each latent, and activation={activation.name} "
            "has more; choose revival=none, or another activation"
        )
    linear = autoencoder.linear_decoder()
    if linear is None:
        raise ConfigError(
            f"revival={name} needs a decoder of one linear layer, whose columns are atoms, and "
            "this architecture has another one here; choose architecture=sae, or revival=none"
        )
    if autoencoder.output_activation.name != "identity":
        raise ConfigError(
            f"revival={name} needs architecture.output_activation=identity, given "
            f"{autoencoder.output_activation.name}; set it, or choose revival=none"
        )
    n_features, n_latents = linear[0].shape
    return n_features, n_latents


def _one_layer_each_way(autoencoder: AutoEncoder) -> tuple[nn.Linear, nn.Linear]:
    """Give the linear layers of an encoder and a decoder that have no other weights.

    Raises:
        ConfigError: there are other weights, or the two share one.
    """
    found = []
    for side in (autoencoder.encoder, autoencoder.decoder):
        parts = [part for part in unpack(side) if list(part.parameters())]
        if len(parts) != 1 or not isinstance(parts[0], nn.Linear):
            raise ConfigError(
                "revival=resample needs one linear layer each way, with weights of its own, and "
                "this architecture is another one here; choose architecture=sae, or revival=auxk"
            )
        found.append(parts[0])
    encoder, decoder = found
    return encoder, decoder


def _parameter(layer: nn.Linear) -> Tensor:
    """Give the parameter that a layer's weight is, or is computed from."""
    if not parametrize.is_parametrized(layer, "weight"):
        return layer.weight
    parametrizations = layer.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    original = parametrizations["weight"].original
    assert isinstance(original, Tensor)
    return original

"""Revival by new atoms for dead latents, drawn from what is reconstructed worst."""

from __future__ import annotations

from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, Positive
from sae_cli.model.autoencoder import AutoEncoder, unpack
from sae_cli.model.reconstruction import Reconstruction
from sae_cli.training.optimizers import Optimizer
from sae_cli.training.revivals.revival import REVIVALS, Revival, check_pre_codes


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
        reconstruction: Reconstruction,
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
        check_pre_codes(autoencoder, "resample")
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

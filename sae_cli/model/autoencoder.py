"""The one model: an encoder, an activation, a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from sae_cli.model.activations.activation import Activation, Learning
from sae_cli.model.layers import is_linear, linear_of_few, linear_over_latents
from sae_cli.model.logistic import Logs

# Sums over active codes take less time than a product where at most one of so many codes is active,
# and so many examples and features share what it takes to find them, the time of a product of some
# 100 features.
FEW_OF, FEW_FROM, FEATURES_FROM = 32, 256, 192


class Pass(NamedTuple):
    """The results of one forward pass.

    Attributes:
        pre_codes: ``(batch, n_latents)``, before the activation.
        codes: ``(batch, n_latents)``.
        pre_x_hat: ``(batch, *input_shape)``, before the output activation (logits for a sigmoid).
        x_hat: ``(batch, *input_shape)``, the reconstruction.
        predicted: ``(batch, n_latents)``, the encoder's own codes where codes are inferred.
        logs: of the probabilities ``x_hat``, where an evaluation needs them more than once.
    """

    pre_codes: Tensor
    codes: Tensor
    pre_x_hat: Tensor
    x_hat: Tensor
    predicted: Tensor | None = None
    logs: Logs | None = None

    @property
    def activated(self) -> Tensor:
        """The codes that the activation has made."""
        return self.codes if self.predicted is None else self.predicted


Infer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From ``x`` ``(batch, n_features)``, a dictionary ``(n_features, n_latents)`` and initial codes
``(batch, n_latents)`` to the codes that explain ``x`` best, without a gradient."""


Centre = Literal["mean", "geometric_median"]
"""A point amid the training examples."""


def unpack(module: nn.Module) -> list[nn.Module]:
    """List the modules that are applied one after the other."""
    # A subclass of Sequential may do something else.
    if type(module) is not nn.Sequential:
        return [module]
    return [inner for part in module for inner in unpack(part)]


@final
class AutoEncoder(nn.Module):
    """``x_hat = output_activation(decoder(activation(encoder(x))))``.

    Args:
        encoder: ``(batch, *input_shape)`` to pre-codes ``(batch, n_latents)``.
        activation: pre-codes to codes.
        decoder: codes to ``(batch, *input_shape)``.
        output_activation: decoder output to reconstruction.
        n_latents: width of the code.
        layers: each layer as an auto-encoder over the same parameters, from the input on, for
            training layer by layer; empty for an architecture without such layers.
        code_shape: arrangement of the latents, ``(height, width, channels)`` for convolutional
            maps; by default a row.
        pass_on: codes to the data that the layer above is trained on; by default the same.
        bias_from: the centre of the training examples that the bias of a linear decoder begins
            with; None leaves it as it is.

    Attributes:
        infer: improves on the encoder's codes; None to take these.
        n_held: how many of the latents are in this process, whose codes are of these alone; all of
            them, unless ``hold_`` has left some to other processes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        activation: Activation,
        decoder: nn.Module,
        output_activation: Activation,
        n_latents: int,
        layers: Sequence[AutoEncoder] = (),
        code_shape: tuple[int, ...] | None = None,
        pass_on: nn.Module | None = None,
        bias_from: Centre | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.activation = activation
        self.decoder = decoder
        self.output_activation = output_activation
        self.n_latents = self.n_held = n_latents
        # In a tuple the layers are not registered as further owners of the parameters.
        self.layers = tuple(layers)
        self.code_shape = (n_latents,) if code_shape is None else code_shape
        self.pass_on = nn.Identity() if pass_on is None else pass_on
        self.bias_from = bias_from
        self.infer: Infer | None = None

    def encode(self, x: Tensor) -> Tensor:
        """Give the codes ``(batch, n_latents)`` of ``x`` ``(batch, *input_shape)``."""
        codes: Tensor = self.activation(self.encoder(x))
        return codes if self.infer is None else self._infer_codes(self.infer, x, codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Give the reconstruction ``(batch, *input_shape)`` of codes ``(batch, n_latents)``."""
        x_hat: Tensor = self.output_activation(self._decoded(codes))
        return x_hat

    def forward(
        self,
        x: Tensor,
        noise: Tensor | None = None,
        training: bool = False,
        sparsely: bool = False,
    ) -> Pass:
        """Make a forward pass of ``x`` ``(batch, *input_shape)``.

        Args:
            noise: ``(batch, n_latents)``, standard normal, for an activation that samples.
            training: whether codes are those of a training step, which may depend on the batch.
            sparsely: whether to decode active codes alone where that is quicker; without a
                gradient, and with other last bits.
        """
        pre_codes = self.encoder(x)
        activate = self.activation.in_training if training else self.activation
        codes = activate(pre_codes, noise)
        predicted = None
        if self.infer is not None:
            predicted, codes = codes, self._infer_codes(self.infer, x, codes)
        few = sparsely and self._are_few(codes)
        pre_x_hat = self._decoded(codes, few)
        return Pass(pre_codes, codes, pre_x_hat, self.output_activation(pre_x_hat), predicted)

    def _decoded(self, codes: Tensor, few: bool = False) -> Tensor:
        held = self.n_held < self.n_latents
        linear = self.linear_decoder() if held or few else None
        if linear is None:
            decoded: Tensor = self.decoder(codes)
            return decoded
        decoded = (linear_over_latents if held else linear_of_few)(codes, *linear)
        for part in unpack(self.decoder):
            decoded = part(decoded) if isinstance(part, nn.Unflatten) else decoded
        return decoded

    def _are_few(self, codes: Tensor) -> bool:
        """Whether codes are so few that sums over active ones are to take a product's place."""
        # To find what is active a GPU would have to wait.
        on_cpu = codes.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        can_be_zero = self.activation.active_above == 0.0
        parts = [one for one in unpack(self.decoder) if not isinstance(one, nn.Unflatten)]
        return (
            on_cpu
            and can_be_zero
            and len(codes) >= FEW_FROM
            and len(parts) == 1
            and is_linear(parts[0])
            and parts[0].out_features >= FEATURES_FROM
            and int(codes.count_nonzero()) * FEW_OF <= codes.numel()
        )

    @torch.no_grad()
    def learn_(self, activated: Tensor) -> None:
        """Let the activation learn, if it does, from what it made in a training pass."""
        if isinstance(self.activation, Learning):
            self.activation.learn_(activated)

    @torch.no_grad()
    def _infer_codes(self, infer: Infer, x: Tensor, start: Tensor) -> Tensor:
        linear = self.linear_decoder()
        assert linear is not None, "codes are inferred from a linear decoder"
        weight, bias = linear
        flat = x.flatten(1)
        return infer(flat if bias is None else flat - bias, weight, start)

    def linear_decoder(self) -> tuple[Tensor, Tensor | None] | None:
        """Give the weight ``(n_features, n_latents)`` and the bias ``(n_features,)`` or None of a
        decoder of one linear layer; None for any other decoder."""
        parts = [part for part in unpack(self.decoder) if not isinstance(part, nn.Unflatten)]
        weight, bias = getattr(parts[0], "weight", None), getattr(parts[0], "bias", None)
        if len(parts) > 1 or not isinstance(weight, Tensor) or weight.ndim != 2:
            return None
        return weight, bias

    def atoms(self, first: int) -> Tensor:
        """Give the first atoms, ``(at most first, *input_shape)``; see :meth:`atoms_of`."""
        return self.atoms_of(torch.arange(min(first, self.n_latents)))

    def atoms_of(self, latents: Tensor) -> Tensor:
        """Give the atoms of latents ``(n,)``: ``(n, *input_shape)``.

        An atom is the change of ``pre_x_hat`` as one latent goes from 0 to 1 and the others stay 0:
        a column of a linear decoder's weight, or the response of a deep decoder to a unit code.
        """
        with torch.no_grad():
            reference = next(self.parameters())
            codes = torch.zeros(len(latents) + 1, self.n_latents)
            codes[torch.arange(1, len(latents) + 1), latents] = 1.0
            codes = codes.to(reference)
            answers: Tensor = self.decoder(codes)
            return answers[1:] - answers[0]

    def filters(self) -> Tensor | None:
        """Give the weight of the encoder's first layer: ``(n_filters, n_features)`` if it is
        linear, ``(n_filters, channels, height, width)`` if a convolution, None otherwise."""
        kinds = (nn.Linear, nn.Conv2d, nn.RNNBase)
        first = next((part for part in self.encoder.modules() if isinstance(part, kinds)), None)
        return first.weight.detach() if isinstance(first, (nn.Linear, nn.Conv2d)) else None

"""The base of gradients: the terms of one batch, and the derivative of its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from sae_cli.model.objective import Terms


class Gradients(ABC):
    """A way to differentiate an objective.

    Attributes:
        parameters: by which to differentiate.
        term_names: of the terms of the loss.
        capturable: whether nothing is read back from the device meanwhile.
        side_by_side: whether they are found together with those of other runs of this process.
        apart: why they are not, among such runs; None where they are, or there are none.
    """

    parameters: Sequence[nn.Parameter]
    term_names: Sequence[str]
    capturable: bool = True
    side_by_side: bool = False
    apart: str | None = None

    @abstractmethod
    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        """Differentiate the loss of one batch.

        Args:
            x: ``(batch, *input_shape)``, the input, corrupted or not.
            target: ``(batch, *input_shape)``, what to reconstruct.
            labels: ``(batch,)`` int64, for an objective with a head.
            noise: ``(batch, n_latents)``, standard normal, for an activation that samples.

        Returns:
            the terms (scalars, ``loss`` among them), and the gradient of the loss with respect to
            each of ``parameters``.
        """

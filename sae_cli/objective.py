"""The objective: reconstruction plus weighted terms."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sae_cli.autoencoder import Pass
from sae_cli.penalties import Penalty
from sae_cli.reconstruction import Reconstruction


@final
class Objective(nn.Module):
    """``loss = reconstruction + penalty_weight * penalty``.

    Args:
        reconstruction: the reconstruction loss.
        penalty: a penalty on the codes, or None.
        penalty_weight: what multiplies the penalty.
    """

    def __init__(
        self, reconstruction: Reconstruction, penalty: Penalty | None, penalty_weight: float
    ) -> None:
        super().__init__()
        self.reconstruction = reconstruction
        self.penalty = penalty
        self.penalty_weight = penalty_weight

    @property
    def term_names(self) -> list[str]:
        """The names of ``terms``, in order."""
        without = ["loss", "reconstruction"]
        return without if self.penalty is None else [*without, "penalty", "penalty_raw"]

    def means(self, passed: Pass, target: Tensor) -> dict[str, Tensor]:
        """The means over this batch from which ``terms`` are made."""
        means = {"reconstruction": self.reconstruction(passed, target)}
        if self.penalty is not None:
            means["penalty"] = self.penalty.per_example(passed.codes).mean(0)
        return means

    def terms(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scalar terms: ``loss``, ``reconstruction`` and, with a penalty, ``penalty``
        (weighted) and ``penalty_raw``.

        Args:
            means: as ``means`` gives them, of one batch or averaged over a whole split.
        """
        reconstruction = means["reconstruction"]
        if self.penalty is None:
            return {"loss": reconstruction, "reconstruction": reconstruction}
        return self._with_penalty(reconstruction, self.penalty.of_mean(means["penalty"]))

    def _with_penalty(self, reconstruction: Tensor, raw: Tensor) -> dict[str, Tensor]:
        weighted = self.penalty_weight * raw
        return {
            "loss": reconstruction + weighted,
            "reconstruction": reconstruction,
            "penalty": weighted,
            "penalty_raw": raw,
        }

    def forward(self, passed: Pass, target: Tensor) -> dict[str, Tensor]:
        """The terms of one batch."""
        return self.terms(self.means(passed, target))

    def terms_and_gradients(
        self, passed: Pass, target: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        """The terms of one batch and how the loss changes, without a graph.

        Returns:
            the terms, the gradient of what ``reconstruction.differentiated`` names, and that of
            the codes through the penalty alone (it broadcasts to them; None without a penalty).
        """
        reconstruction, of_output = self.reconstruction.value_and_gradient(passed, target)
        if self.penalty is None:
            return {"loss": reconstruction, "reconstruction": reconstruction}, of_output, None
        raw, of_codes = self.penalty.value_and_gradient(passed.codes, self.penalty_weight)
        return self._with_penalty(reconstruction, raw), of_output, of_codes

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
        """The weighted terms, ``loss`` (their sum) first."""
        return ["loss", "reconstruction"] + ([] if self.penalty is None else ["penalty"])

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
        raw = self.penalty.of_mean(means["penalty"])
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

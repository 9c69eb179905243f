"""The objective: reconstruction plus weighted terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from sae_cli.core.ranks.latents import sum_over_latents
from sae_cli.model.autoencoder import Pass
from sae_cli.model.further import FurtherTerm, Watcher
from sae_cli.model.head import Head
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.penalties.roles import Adjusted, Tuned, WarmUp
from sae_cli.model.reconstruction import Reconstruction

Terms = dict[str, Tensor]
"""Scalars by name: ``loss`` and its summands."""


@final
class Objective(nn.Module):
    """``loss = reconstruction + weighted terms``; every term is a mean over examples.

    Args:
        reconstruction: the reconstruction loss, or None where a head alone is trained.
        penalty: a penalty on the codes, or None.
        prediction_weight: multiplies the squared distance, summed over latents, between inferred
            codes and those that the encoder predicts; 0 leaves the term out.
        head: a classifier of the codes, or None.
        head_weight: multiplies its cross-entropy.
        further: by name, further terms and what else watches training.
    """

    def __init__(
        self,
        reconstruction: Reconstruction | None,
        penalty: Penalty | None,
        *,
        prediction_weight: float = 0.0,
        head: Head | None = None,
        head_weight: float = 1.0,
        further: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.reconstruction = reconstruction
        self.penalty = penalty
        self.prediction_weight = prediction_weight
        self.head = head
        self.head_weight = head_weight
        self.further = nn.ModuleDict(further)

    @property
    def term_names(self) -> list[str]:
        """The names of ``terms``, in order."""
        names = ["loss"]
        if self.reconstruction is not None:
            names += ["reconstruction"]
        if self.penalty is not None:
            names += ["penalty", "penalty_raw"]
        if self.prediction_weight:
            names += ["prediction", "prediction_raw"]
        if self.head is not None:
            names += ["head", "head_raw"]
        return names + [one for name in self._further_terms() for one in (name, f"{name}_raw")]

    def _further_terms(self) -> dict[str, FurtherTerm]:
        return {name: one for name, one in self.further.items() if isinstance(one, FurtherTerm)}

    def means(
        self,
        passed: Pass,
        target: Tensor,
        labels: Tensor | None = None,
        training: bool = False,
    ) -> dict[str, Tensor]:
        """The means over this batch from which ``terms`` are made.

        Args:
            labels: ``(batch,)`` int64, -1 where there is none; for a head.
            training: whether to give those of terms that only training has, too.
        """
        means: dict[str, Tensor] = {}
        if self.reconstruction is not None:
            means["reconstruction"] = self.reconstruction(passed, target)
        if (penalty := self.penalty) is not None:
            seen = passed.codes if penalty.of == "codes" else passed.pre_codes
            # Evaluation is of a whole split, and of one process.
            mean = penalty.mean_of(seen) if training else penalty.per_example(seen).mean(0)
            means["penalty"] = mean
        if self.prediction_weight and passed.predicted is not None:
            means["prediction"] = (passed.predicted - passed.codes).square().sum(1).mean()
        if self.head is not None and labels is not None:
            means["head"] = self.head.cross_entropy(passed.codes, labels, training)
        for name, term in self._further_terms().items():
            if training or not term.in_training_only:
                means[name] = term.mean(passed, target)
        return means

    def terms(self, means: dict[str, Tensor], growth: Tensor | None = None) -> Terms:
        """The scalar terms: ``loss``, ``reconstruction``, and each other term, weighted and (as
        ``NAME_raw``) unweighted.

        Args:
            means: as ``means`` gives them, of one batch or averaged over a whole split.
            growth: the share of its weight that the penalty has reached, or None for all of it.
        """
        weighted: dict[str, tuple[Tensor, Tensor]] = {}
        if self.penalty is not None:
            raw = sum_over_latents(self.penalty.of_mean(means["penalty"]))
            full = self.penalty.weight * raw
            factor = self.penalty.factor() if isinstance(self.penalty, Tuned) else None
            full = full if factor is None else factor * full
            weighted["penalty"] = (full if growth is None else growth * full), raw
        if "prediction" in means:
            raw = means["prediction"]
            weighted["prediction"] = self.prediction_weight * raw, raw
        if "head" in means:
            weighted["head"] = self.head_weight * means["head"], means["head"]
        for name, term in self._further_terms().items():
            if name in means:
                weighted[name] = term.weight * means[name], means[name]
        return sum_terms(means.get("reconstruction"), weighted)

    def forward(self, passed: Pass, target: Tensor, labels: Tensor | None = None) -> Terms:
        """The terms of one training batch, with the penalty's weight as it has grown so far."""
        growth = self.penalty.growth() if isinstance(self.penalty, WarmUp) else None
        return self.terms(self.means(passed, target, labels, training=True), growth)

    @property
    def watchers(self) -> list[Watcher]:
        """The parts that watch the passes of training steps."""
        parts: tuple[object, ...] = (self.penalty, *self.further.values())
        return [part for part in parts if isinstance(part, Watcher)]

    def watch_(self, passed: Pass) -> None:
        """Show the pass of a training step to what watches."""
        for watcher in self.watchers:
            watcher.watch_(passed)

    def report_(self) -> dict[str, float]:
        """Give the figures of what has watched an epoch, by name, and begin those of the next."""
        return {name: x for one in self.watchers for name, x in one.report_().items()}

    def after_step_(self) -> None:
        """Adjust the penalty after a step of training."""
        if isinstance(self.penalty, Adjusted):
            self.penalty.after_step_()


def sum_terms(reconstruction: Tensor | None, weighted: dict[str, tuple[Tensor, Tensor]]) -> Terms:
    """Sum the terms to the loss; give them all, ``loss`` first.

    Args:
        reconstruction: a scalar, or None where there is no such term.
        weighted: each further term by name: with its weight and without.
    """
    summands = [] if reconstruction is None else [reconstruction]
    summands += [value for value, _ in weighted.values()]
    loss = summands[0]
    for summand in summands[1:]:
        loss = loss + summand
    terms = {"loss": loss}
    if reconstruction is not None:
        terms["reconstruction"] = reconstruction
    for name, (value, raw) in weighted.items():
        terms |= {name: value, f"{name}_raw": raw}
    return terms

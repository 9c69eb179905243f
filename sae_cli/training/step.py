"""One step of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Generator, Tensor

from sae_cli.core.company import meet
from sae_cli.datasets.batch_rows import BatchRows
from sae_cli.model.objective import Terms
from sae_cli.training.captured import Captured, Taking
from sae_cli.training.corruptions import Corruption
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import Optimizer
from sae_cli.training.shares import Joining, Share
from sae_cli.training.sums import Sums


@final
class Step:
    """A training step: corrupt, differentiate, move the parameters, add up the terms of the loss.

    It reads nothing back from the device.

    Args:
        gradients: of the objective.
        optimizer: over the same parameters.
        corruption: of the input, or None.
        generator: of noise, on the device.
        batch_size: of all batches but the last of an epoch.
        clip_norm: bound on the L2 norm of all gradients together, or None.
        n_sampled: number of latents whose codes are sampled.
        after: called after each step.
        joining: the processes that share each batch, or None.

    Attributes:
        sums: of the terms of the loss, since the last means.
        joining: as given.
    """

    def __init__(
        self,
        gradients: Gradients,
        optimizer: Optimizer,
        corruption: Corruption | None,
        generator: Generator,
        batch_size: int,
        *,
        clip_norm: float | None = None,
        n_sampled: int = 0,
        after: Callable[[], None] | None = None,
        joining: Joining | None = None,
    ) -> None:
        self._clip_norm = clip_norm
        self._n_sampled = n_sampled
        self._after = after
        self._gradients = gradients
        self._optimizer = optimizer
        self._corruption = corruption
        self._generator = generator
        device = optimizer.parameters[0].device
        self.sums = Sums(gradients.term_names, device)
        self.joining = joining
        self._take: Taking = self._once
        if device.type == "cuda" and gradients.capturable and joining is None:
            self._take = Captured(self._once, batch_size, generator)

    @property
    def notes(self) -> list[str]:
        """What there is to say of how steps are taken, a line each."""
        notes = []
        if self._gradients.apart is not None:
            apart = self._gradients.apart
            notes.append(f"its steps are computed apart from those of other jobs: {apart}")
        if isinstance(self._take, Captured) and self._take.waits_at is not None:
            at = self._take.waits_at
            notes.append(f"its steps are not one CUDA graph each: they wait for the GPU at {at}")
        return notes

    @property
    def gathers(self) -> bool:
        """Whether it gathers batches of rows by itself, as part of a CUDA graph."""
        return isinstance(self._take, Captured)

    def __call__(
        self,
        target: Tensor | BatchRows,
        learning_rate: float,
        labels: Tensor | None = None,
        share: Share | None = None,
    ) -> Terms:
        """Train on one batch; return its terms.

        Args:
            target: ``(batch, *input_shape)``, or the rows of a batch, which have labels of their
                own.
            labels: ``(batch,)`` or None.
            share: which rows of the batch these are, where several processes share it.
        """
        if share is None:
            return self._take(target, labels, learning_rate)
        return self._once(target, labels, learning_rate, share)

    def _once(
        self,
        target: Tensor | BatchRows,
        labels: Tensor | None,
        learning_rate: float | Tensor,
        share: Share | None = None,
    ) -> Terms:
        if isinstance(target, BatchRows):
            labels, target = target.labels(), target.values()
        n = len(target)
        if share is not None and self.joining is not None:
            self.joining.begin(share)
            n = share.n
        x, noise = self._corrupted(target, share), self._noise(target, share)
        terms, gradients = self._gradients(x, target, labels, noise)
        if share is not None and self.joining is not None:
            terms, gradients = self.joining.join(terms, gradients, share.weight)
        if self._clip_norm is not None:
            joining = self.joining
            norm = torch.linalg.vector_norm if joining is None else joining.norm
            gradients = clip(gradients, self._clip_norm, norm)
        if self._gradients.side_by_side:
            meet(move_all, Move(self._optimizer, gradients, float(learning_rate)))
        else:
            self._optimizer.step(gradients, learning_rate)
        if self._after is not None:
            self._after()
        self.sums.add(terms, n)
        return terms

    def _corrupted(self, target: Tensor, share: Share | None) -> Tensor:
        if self._corruption is None:
            return target
        if share is None:
            return self._corruption(target, self._generator)
        # Every process draws the noise of the whole batch, which is that of a single process.
        return share.of(self._corruption(share.among_all(target), self._generator))

    def _noise(self, target: Tensor, share: Share | None) -> Tensor | None:
        if not self._n_sampled:
            return None
        shape = (len(target) if share is None else share.n, self._n_sampled)
        noise = torch.randn(shape, generator=self._generator, device=target.device)
        return noise if share is None else share.of(noise)


@torch.no_grad()
def clip(
    gradients: Sequence[Tensor],
    bound: float,
    norm_of: Callable[[Tensor], Tensor] = torch.linalg.vector_norm,
) -> list[Tensor]:
    """Scale gradients down together so that the L2 norm of all their elements is at most ``bound``.

    Shorter ones keep their bits. The norm is taken in float64, because squares of large gradients,
    which are those to be clipped, are infinite in float32 (Pascanu et al. 2013).

    Args:
        norm_of: gives the norm of all from those of each, where processes have some each.
    """
    norms = [torch.linalg.vector_norm(one, dtype=torch.float64) for one in gradients]
    norm = norm_of(torch.stack(norms))
    scale = (bound / norm.clamp(min=bound)).to(gradients[0].dtype)
    return [one * scale for one in gradients]

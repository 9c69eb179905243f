"""One update of the parameters of a training, computed as its operations come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Generator, Tensor

from sae_cli.core.company import meet
from sae_cli.datasets.batch_rows import BatchRows
from sae_cli.model.objective import Terms
from sae_cli.training.corruptions import Corruption
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import Optimizer
from sae_cli.training.shares import Joining, Share
from sae_cli.training.sums import Sums


class Seen(NamedTuple):
    """What gradients take: the input, corrupted or not, its target, labels and noise."""

    x: Tensor
    target: Tensor
    labels: Tensor | None
    noise: Tensor | None


@final
class Update:
    """An update: corrupt, differentiate, move the parameters, add up the terms of the loss.

    It reads nothing back from the device.

    Args:
        gradients: of the objective.
        optimizer: over the same parameters.
        corruption: of the input, or None.
        generator: of noise, on the device.
        clip_norm: bound on the L2 norm of all gradients together, or None.
        n_sampled: number of latents whose codes are sampled.
        after: called after each update.
        joining: the processes that share each batch, or None.

    Attributes:
        gradients, optimizer, generator, joining: as given.
        sums: of the terms of the loss, since the last means.
        group: that it is taken with in one pass, if it is; kept by those who take it.
        ended: whether its training has come to an end.
    """

    def __init__(
        self,
        gradients: Gradients,
        optimizer: Optimizer,
        corruption: Corruption | None,
        generator: Generator,
        *,
        clip_norm: float | None,
        n_sampled: int,
        after: Callable[[], None] | None,
        joining: Joining | None,
    ) -> None:
        self.gradients = gradients
        self.optimizer = optimizer
        self.generator = generator
        self.joining = joining
        self.sums = Sums(gradients.term_names, optimizer.parameters[0].device)
        self.group: object = None
        self.ended = False
        self._corruption = corruption
        self._clip_norm = clip_norm
        self._n_sampled = n_sampled
        self._after = after

    def __call__(
        self,
        values: Tensor | BatchRows,
        labels: Tensor | None,
        learning_rate: float | Tensor,
        share: Share | None = None,
    ) -> Terms:
        """Update by one batch; return its terms.

        Args:
            values: ``(batch, *input_shape)``, or the rows of a batch, which have labels of their
                own.
            labels: ``(batch,)`` or None.
            share: which rows of the batch these are, where several processes share it.
        """
        if isinstance(values, BatchRows):
            labels, values = values.labels(), values.values()
        if share is not None and self.joining is not None:
            self.joining.begin(share)
        terms, gradients = self.gradients(*self.see(values, labels, share))
        if share is not None and self.joining is not None:
            terms, gradients = self.joining.join(terms, gradients, share.weight)
        move = Move(self.optimizer, self.clipped(gradients), learning_rate)
        if self.gradients.side_by_side:
            meet(move_all, move)
        else:
            self.optimizer.step(move.gradients, learning_rate)
        self.after()
        self.sums.add(terms, len(values) if share is None else share.n)
        return terms

    def see(self, values: Tensor, labels: Tensor | None, share: Share | None = None) -> Seen:
        """Draw the noise of a batch."""
        x = self._corrupted(values, share)
        return Seen(x, values, labels, self._noise(values, share))

    def clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        """Bound the norm of gradients."""
        if self._clip_norm is None:
            return gradients
        norm = torch.linalg.vector_norm if self.joining is None else self.joining.norm
        return clip(gradients, self._clip_norm, norm)

    def after(self) -> None:
        """Do what follows each update."""
        if self._after is not None:
            self._after()

    def _corrupted(self, target: Tensor, share: Share | None) -> Tensor:
        if self._corruption is None:
            return target
        if share is None:
            return self._corruption(target, self.generator)
        # Every process draws the noise of the whole batch, which is that of a single process.
        return share.of(self._corruption(share.among_all(target), self.generator))

    def _noise(self, target: Tensor, share: Share | None) -> Tensor | None:
        if not self._n_sampled:
            return None
        shape = (len(target) if share is None else share.n, self._n_sampled)
        noise = torch.randn(shape, generator=self.generator, device=target.device)
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

"""One step of training, on a GPU as a single launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Generator, Tensor

from sae_cli.core.company import meet
from sae_cli.model.objective import Terms
from sae_cli.training.corruptions import Corruption
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import Optimizer
from sae_cli.training.shares import Joining, Share
from sae_cli.training.sums import Sums

Function = Callable[[Tensor, Tensor | None, float | Tensor], Terms]


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
        self._take: Function = self._once
        if device.type == "cuda" and gradients.capturable and joining is None:
            self._take = Captured(self._once, batch_size, generator)

    @property
    def apart(self) -> str | None:
        """Why it is not taken together with those of other runs, as ``Gradients`` say it."""
        return self._gradients.apart

    def __call__(
        self,
        target: Tensor,
        learning_rate: float,
        labels: Tensor | None = None,
        share: Share | None = None,
    ) -> Terms:
        """Train on one batch ``(batch, *input_shape)``, with labels ``(batch,)`` or None; return
        its terms.

        Args:
            share: which rows of the batch these are, where several processes share it.
        """
        if share is None:
            return self._take(target, labels, learning_rate)
        return self._once(target, labels, learning_rate, share)

    def _once(
        self,
        target: Tensor,
        labels: Tensor | None,
        learning_rate: float | Tensor,
        share: Share | None = None,
    ) -> Terms:
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


@final
class Captured:
    """A function that the GPU repeats from a CUDA graph: one launch in place of some fifty.

    The first calls run plainly, and so does every batch of another size. Then the launches of one
    call are recorded, and repeated for each further batch, which is copied to the same place.

    Args:
        function: of a batch, its labels and a learning rate; must read nothing back from the GPU.
        batch_size: of the batches to capture.
        generator: what the function draws from.
    """

    # Libraries choose algorithms and take workspaces in their first calls.
    WARM_UP = 3

    def __init__(self, function: Function, batch_size: int, generator: Generator) -> None:
        self._function = function
        self._batch_size = batch_size
        self._generator = generator
        self._warm_ups = 0
        self._terms: Terms | None = None
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._learning_rate = torch.zeros((), device="cuda")

    def __call__(
        self, target: Tensor, labels: Tensor | None, learning_rate: float | Tensor
    ) -> Terms:
        self._learning_rate.fill_(learning_rate)
        if len(target) != self._batch_size:
            return self._run_plainly(target, labels)
        if self._warm_ups < self.WARM_UP:
            self._warm_ups += 1
            return self._run_plainly(target, labels)
        if self._terms is None:
            self._terms = self._capture(target, labels)
        self._target.copy_(target)
        if self._labels is not None and labels is not None:
            self._labels.copy_(labels)
        self._graph.replay()
        return self._terms

    def _run_plainly(self, target: Tensor, labels: Tensor | None) -> Terms:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            terms = self._function(target, labels, self._learning_rate)
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def _capture(self, target: Tensor, labels: Tensor | None) -> Terms:
        """Record the launches of one call without running them; return where its terms will be."""
        self._target = target.clone()
        self._labels = None if labels is None else labels.clone()
        self._graph.register_generator_state(self._generator)
        # Threads that load data may continue their own work.

        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            return self._function(self._target, self._labels, self._learning_rate)

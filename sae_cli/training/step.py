"""One step of training, or a stretch of them, taken in the way that fits the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from torch import Generator, Tensor

from sae_cli.core.company import in_company, meet
from sae_cli.datasets.batch_rows import BatchRows, Stretch
from sae_cli.model.objective import Terms
from sae_cli.training.captured import Captured, Examples, Given
from sae_cli.training.corruptions import Corruption
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.in_one_pass import Brought, Group, pass_all
from sae_cli.training.optimizers import Optimizer
from sae_cli.training.shares import Joining, Share
from sae_cli.training.sums import Sums
from sae_cli.training.update import Update


@final
class Step:
    """A training step: an update as its operations come, or repeated from a CUDA graph, or in one
    pass with those of other trainings of this process.

    It reads nothing back from the device.

    Args:
        gradients, optimizer, corruption, generator, clip_norm, n_sampled, after, joining: of the
            update.
        batch_size: of all batches but the last of an epoch.

    Attributes:
        update: of the parameters, as its operations come.
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
        self._batch_size = batch_size
        self.update = Update(
            gradients,
            optimizer,
            corruption,
            generator,
            clip_norm=clip_norm,
            n_sampled=n_sampled,
            after=after,
            joining=joining,
        )
        self._captured: Captured | None = None
        self._in_company = False
        on_gpu = optimizer.parameters[0].device.type == "cuda"
        if on_gpu and gradients.capturable and joining is None:
            self.capture()

    def capture(self) -> None:
        """From here on take steps as a GPU takes them, which need not stop for values."""
        self._in_company = in_company()
        if not self._in_company:
            generators = [self.update.generator]
            self._captured = Captured(self._of_one, self._batch_size, generators)

    def end(self) -> None:
        """Say that no step follows, so that trainings taken with it wait for none."""
        self.update.ended, self.update.group = True, None
        # What is recorded takes memory of the GPU.
        self._captured = None

    @property
    def sums(self) -> Sums:
        """The sums of the terms of the loss, since the last means."""
        return self.update.sums

    @property
    def joining(self) -> Joining | None:
        """The processes that share each batch, or None."""
        return self.update.joining

    @property
    def notes(self) -> list[str]:
        """What there is to say of how steps are taken, a line each."""
        notes, apart, group = [], self.update.gradients.apart, self.update.group
        if apart is not None:
            notes.append(f"its steps are computed apart from those of other jobs: {apart}")
        captured = group.captured if isinstance(group, Group) else self._captured
        if captured is not None and captured.waits_at is not None:
            at = captured.waits_at
            notes.append(f"its steps are not one CUDA graph each: they wait for the GPU at {at}")
        return notes

    @property
    def gathers(self) -> bool:
        """Whether it gathers batches of rows by itself, as part of a CUDA graph."""
        return self._in_company or self._captured is not None

    def __call__(
        self,
        target: Tensor | BatchRows,
        learning_rate: float,
        labels: Tensor | None = None,
        share: Share | None = None,
    ) -> Terms:
        """Train on one batch, given as to an ``Update``; return its terms."""
        if self.gathers:
            return self._launch((target, labels), (learning_rate,))
        return self.update(target, labels, learning_rate, share)

    def repeat(self, stretch: Stretch, rates: Sequence[float]) -> Terms:
        """Train on several batches, where it gathers; return the terms of the last.

        Args:
            rates: a learning rate for each.
        """
        return self._launch(stretch, tuple(rates))

    def _launch(self, given: Given, rates: tuple[float, ...]) -> Terms:
        if self._captured is not None:
            return self._captured([given], [rates])[0]
        return meet(pass_all, Brought(self.update, self._batch_size, given, rates))

    def _of_one(self, examples: Sequence[Examples], rates: Sequence[Tensor]) -> list[Terms]:
        ((values, labels),), (rate,) = examples, rates
        return [self.update(values, labels, rate)]

"""The pictures of a trained run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor

from sae_cli.assembly.stages import Training
from sae_cli.assembly.streams import generators
from sae_cli.config.schema import RunConfig
from sae_cli.datasets import Split
from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.model.penalties.roles import InTrees, OnSheet
from sae_cli.pictures import Examples, Picture, pictures_of
from sae_cli.pictures.picture import Floats, Integers
from sae_cli.training.loop import EVALUATION_BATCH
from sae_cli.training.metrics import TERMS

N_EXAMPLES = 12
N_CODES = 5000
N_BINS = 60


class TrainedRun(Protocol):
    """What is drawn: a run that has just been trained, or one that was loaded."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def training(self) -> Training: ...

    @property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        ...


@torch.no_grad()
def draw(run: TrainedRun) -> Iterator[Picture]:
    """All pictures that apply to a trained run."""
    yield from pictures_of(RunView(run))


@final
class RunView:
    """The :class:`~sae_cli.pictures.view.View` of a run, which says what each attribute is."""

    def __init__(self, run: TrainedRun) -> None:
        self._device, self._corruption = run.training.device, run.training.corruption
        network, stages = run.training.network, run.training.stages
        self._model, self._data = network.autoencoder, run.training.dataset
        self.input_shape = self._data.shape.input_shape
        self.n_latents = self._model.n_latents
        self.activation_name = self._model.activation.name
        self.active_above = self._model.activation.active_above
        self.has_prior = self._model.activation.samples
        self.decoder_trained = any(stage.objective.reconstruction is not None for stage in stages)
        self.has_head = network.head is not None
        self.seed = run.config.settings.seed
        names = {name for stage in stages for name in stage.objective.term_names}
        self.terms: Sequence[str] = [
            name for name in TERMS if name in names and not name.endswith("_raw")
        ]
        self.lines: Sequence[Mapping[str, Any]] = run.lines
        # The trained one, which may have learnt; whatever pictures know of it is read here.
        penalty = network.penalty
        self.target = penalty.target if isinstance(penalty, TargetPenalty) else None
        self.sheet: tuple[int, ...] | None = None
        self.wrap = False
        if isinstance(penalty, OnSheet):
            self.sheet, self.wrap = penalty.sheet, penalty.wrap
        self.parents: Integers | None = None
        if isinstance(penalty, InTrees):
            self.parents = penalty.parents.cpu().numpy()

    @cached_property
    def examples(self) -> Examples:
        x = next(self._data.test.batches(N_EXAMPLES))
        # A stream of its own, so that a picture shows the same noise however long the run was.
        noise = generators(self.seed, self._device.torch).noise
        corrupted = None if self._corruption is None else self._corruption(x, noise)
        seen = x if corrupted is None else corrupted
        x_hat = self._device.run(self._model, seen).x_hat
        return Examples(_array(x), None if corrupted is None else _array(corrupted), _array(x_hat))

    @cached_property
    def filters(self) -> Floats | None:
        weight = self._model.filters()
        return None if weight is None else _array(weight)

    @cached_property
    def dictionary(self) -> Floats | None:
        linear = self._model.linear_decoder()
        return None if linear is None else _array(linear[0].t())

    @cached_property
    def means(self) -> Floats:
        return self._range_and_means[1]

    @cached_property
    def _range_and_means(self) -> tuple[tuple[float, float], Floats]:
        """Lowest and highest code of the validation split, and the mean of each latent."""
        low, high = math.inf, -math.inf
        total = torch.zeros(self.n_latents, dtype=torch.float64)
        for codes in self._codes_of(self._data.val):
            low, high = min(low, float(codes.min())), max(high, float(codes.max()))
            total += codes.sum(0, dtype=torch.float64).cpu()
        return (low, high), (total / len(self._data.val)).numpy()

    @cached_property
    def code_counts(self) -> tuple[Integers, Floats]:
        # A second pass, because all codes of a split may be too many to hold.
        counts, edges = np.histogram([], bins=N_BINS, range=self._range_and_means[0])
        for codes in self._codes_of(self._data.val):
            counts = counts + np.histogram(codes.cpu().numpy(), bins=edges)[0]
        return counts, edges

    @cached_property
    def firing(self) -> tuple[Integers, int]:
        counts = torch.zeros(self.n_latents, dtype=torch.int64, device=self._device.torch)
        for codes in self._codes_of(self._data.val):
            counts += (codes.abs() > self.active_above).sum(0)
        return counts.cpu().numpy(), len(self._data.val)

    @cached_property
    def codes(self) -> Floats:
        n_batches = -(-N_CODES // EVALUATION_BATCH)
        batches = islice(self._codes_of(self._data.test), n_batches)
        return _array(torch.cat(list(batches))[:N_CODES])

    @cached_property
    def labels(self) -> Integers | None:
        test = self._data.test
        return None if test.labels is None else test.labels[test.rows][:N_CODES].cpu().numpy()

    def atoms(self, first: int) -> Floats:
        return _array(self._model.atoms(first).flatten(1))

    def decode(self, codes: Floats) -> Floats:
        x_hat = self._model.decode(torch.from_numpy(codes).to(self._device.torch))
        # Cut to the range of the data, as whoever shows an image does.
        return _array(x_hat.flatten(1).clamp(self._data.interval.low, self._data.interval.high))

    def _codes_of(self, split: Split) -> Iterator[Tensor]:
        """A pass over a split: codes ``(batch, n_latents)``."""
        return (self._device.run(self._model, x).codes for x in split.batches(EVALUATION_BATCH))


def _array(tensor: Tensor) -> Floats:
    """Move to the host, for a picture."""
    return tensor.detach().float().cpu().numpy()

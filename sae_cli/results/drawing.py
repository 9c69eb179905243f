"""The pictures of a trained run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor

from sae_cli.assembly.stages import Training
from sae_cli.assembly.streams import generators
from sae_cli.config.schema import RunConfig
from sae_cli.model.autoencoder import Pass
from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.model.penalties.roles import InTrees, OnSheet
from sae_cli.pictures import Examples, Picture, pictures_of
from sae_cli.pictures.picture import Floats, Integers
from sae_cli.pictures.view import Excited, Worst
from sae_cli.results import passes
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
        self.projection: str = run.config.settings.projection
        names = {name for stage in stages for name in stage.objective.term_names}
        self.terms: Sequence[str] = [
            name for name in TERMS if name in names and not name.endswith("_raw")
        ]
        self.lines: Sequence[Mapping[str, Any]] = run.lines
        self.class_names: Sequence[str] | None = self._data.class_names
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

    @property
    def means(self) -> Floats:
        return self._statistics.means

    @property
    def sizes(self) -> Floats:
        return self._statistics.sizes

    @property
    def firing(self) -> tuple[Integers, int]:
        return self._statistics.firing, len(self._data.val)

    @cached_property
    def _statistics(self) -> passes.Statistics:
        return passes.gather_statistics(self._codes_of_val(), self.n_latents, self.active_above)

    @cached_property
    def code_counts(self) -> tuple[Integers, Floats]:
        # A second pass, because all codes of a split may be too many to hold.
        edges = np.histogram_bin_edges([], bins=N_BINS, range=self._statistics.range)
        return passes.count_codes(self._codes_of_val(), edges), edges

    @property
    def codes(self) -> Floats:
        return self._encoded.codes

    @cached_property
    def _encoded(self) -> passes.Encoded:
        return passes.encode_examples(self._forward, self._data.test, N_CODES)

    @cached_property
    def worst(self) -> Worst:
        mse = self._encoded.mse
        places = np.argsort(-mse, kind="stable")[:N_EXAMPLES]
        test = self._data.test
        x = test.values(test.rows[torch.from_numpy(places).to(test.rows.device)])
        x_hat = self._forward(x).x_hat
        return Worst(_array(x), _array(x_hat), mse[places], places, len(mse))

    def excited(self, latents: Integers, n: int) -> Excited:
        val = self._data.val
        found = passes.highest_codes(self._codes_of_val(), latents, min(n, len(val)))
        rows = val.rows[found.places.to(val.rows.device)]
        x = val.values(rows.flatten())
        parts, rows_in_parts = passes.place_rows(val.stored, rows)
        shape = (*found.places.shape, *self.input_shape)
        return Excited(_array(found.values), rows_in_parts, parts, _array(x).reshape(shape))

    @cached_property
    def labels(self) -> Integers | None:
        test = self._data.test
        return None if test.labels is None else test.labels[test.rows][:N_CODES].cpu().numpy()

    def atoms(self, latents: Integers) -> Floats:
        return _array(self._model.atoms_of(torch.from_numpy(latents)).flatten(1))

    def decode(self, codes: Floats) -> Floats:
        x_hat = self._model.decode(torch.from_numpy(codes).to(self._device.torch))
        # Cut to the range of the data, as whoever shows an image does.
        return _array(x_hat.flatten(1).clamp(self._data.interval.low, self._data.interval.high))

    def _forward(self, x: Tensor) -> Pass:
        return self._device.run(self._model, x)

    def _codes_of_val(self) -> Iterator[Tensor]:
        """A pass over the validation split: codes ``(batch, n_latents)``."""
        return (self._forward(x).codes for x in self._data.val.batches(passes.BATCH))


def _array(tensor: Tensor) -> Floats:
    """Move to the host, for a picture."""
    return tensor.detach().float().cpu().numpy()

"""The pictures of a trained run."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae_cli.assembly.parts import Parts
from sae_cli.assembly.streams import generators
from sae_cli.datasets import Dataset
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.pictures import (
    Picture,
    code_histogram,
    filters,
    loss_curves,
    mean_histogram,
    reconstructions,
)
from sae_cli.pictures.picture import Floats
from sae_cli.runs.active_run import Run
from sae_cli.runs.drawing_codes import array, draw_codes, draw_latents
from sae_cli.training.loop import EVALUATION_BATCH
from sae_cli.training.metrics import TERMS

N_EXAMPLES = 12
N_TILES = 144
N_BINS = 60


@torch.no_grad()
def draw(run: Run) -> Iterator[Picture]:
    """All pictures of a trained run: of the first test examples, the weights, the validation
    split's codes, and the losses. A decoder that nothing has trained is not shown."""
    model, data, made = run.training.autoencoder, run.training.dataset, run.parts
    decoded = any(stage.objective.reconstruction is not None for stage in run.training.stages)
    if decoded:
        yield _reconstructions(run)
    shape = data.shape.input_shape
    first = model.filters()
    if first is not None:
        yield filters(
            array(first[:N_TILES].flatten(1)),
            shape if first.ndim == 2 else tuple(first.shape[1:]),
            name="filters",
            title="first-layer filters",
            total=len(first),
        )
    if decoded:
        atoms = model.atoms(N_TILES).flatten(1)
        yield filters(
            array(atoms), shape, name="atoms", title="decoder atoms", total=model.n_latents
        )
    counts, edges, means = _histogram(model, data, made)
    activation = model.activation
    yield code_histogram(
        counts, edges, activation_name=activation.name, active_above=activation.active_above
    )
    penalty = run.training.network.penalty
    target = penalty.target if isinstance(penalty, TargetPenalty) else None
    yield mean_histogram(means, target=target)
    if decoded:
        yield from draw_codes(run)
    yield from draw_latents(run, means == 0.0)
    names = {name for stage in run.training.stages for name in stage.objective.term_names}
    terms = [name for name in TERMS if name in names and not name.endswith("_raw")]
    # Where the reconstruction is all of the loss, that is drawn anyway.
    yield loss_curves(run.progress.lines, terms=terms if len(terms) > 2 else [])


def _reconstructions(run: Run) -> Picture:
    model, data, made = run.training.autoencoder, run.training.dataset, run.parts
    x = next(data.test.batches(N_EXAMPLES))
    # A stream of its own, so that a picture shows the same noise however long the run was.
    noise = generators(run.config, made.device).noise
    corrupted = None if made.corruption is None else made.corruption(x, noise)
    seen = x if corrupted is None else corrupted
    return reconstructions(
        array(x),
        array(made.device.run(model, seen).x_hat),
        corrupted=None if corrupted is None else array(corrupted),
    )


def _histogram(
    model: AutoEncoder, data: Dataset, made: Parts
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Counts and edges of all validation codes, and the mean of each latent.

    Two passes, range first, since all codes of a split may be too many to hold.
    """

    def codes() -> Iterator[Tensor]:
        return (made.device.run(model, x).codes for x in data.val.batches(EVALUATION_BATCH))

    low, high, total = math.inf, -math.inf, torch.zeros(model.n_latents, dtype=torch.float64)
    for batch in codes():
        low, high = min(low, float(batch.min())), max(high, float(batch.max()))
        total += batch.sum(0, dtype=torch.float64).cpu()
    counts, edges = np.histogram([], bins=N_BINS, range=(low, high))
    for batch in codes():
        counts = counts + np.histogram(batch.cpu().numpy(), bins=edges)[0]
    return counts, edges, (total / len(data.val)).numpy()

"""The pictures of a trained run that only some models have: of codes, of latents on a sheet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.model.penalties.roles import InTrees, OnSheet
from sae_cli.pictures import (
    Picture,
    angle_histogram,
    code_scatter,
    decoded_grid,
    decoded_points,
    is_image,
    orientation_map,
    penalty_curves,
    samples,
    topographic_map,
    tree_map,
)
from sae_cli.pictures.angles import part_angles
from sae_cli.pictures.picture import Floats
from sae_cli.runs.active_run import Run
from sae_cli.training.loop import EVALUATION_BATCH

N_SCATTERED = 5000
N_POINTS = 30
N_SAMPLES = 64
GRID = 15
# The share of the prior between the first and last row of a grid.
OUTER = 0.98


@torch.no_grad()
def draw_codes(run: Run) -> Iterator[Picture]:
    """Of codes of two latents and of codes drawn from a prior, with what they decode to."""
    model, data = run.training.autoencoder, run.training.dataset
    shape = data.shape.input_shape
    # A stream of its own, so that a picture shows the same whatever was drawn before.
    generator = Generator("cpu").manual_seed(run.config.settings.seed)
    if model.n_latents == 2:
        yield from _of_two_latents(run, generator)
    if model.activation.samples and is_image(shape):
        drawn = torch.randn(N_SAMPLES, model.n_latents, generator=generator)
        title = f"decoded draws from the prior N(0, 1) ({N_SAMPLES})"
        yield samples(_decoded(run, drawn), shape, title=title)


def _of_two_latents(run: Run, generator: Generator) -> Iterator[Picture]:
    model, device, test = run.training.autoencoder, run.parts.device, run.training.dataset.test
    shape = run.training.dataset.shape.input_shape
    passes = (device.run(model, x).codes for x in test.batches(EVALUATION_BATCH))
    codes = torch.cat(list(passes)).cpu()[:N_SCATTERED]
    labels = None if test.labels is None else test.labels[test.rows][:N_SCATTERED].cpu().numpy()
    yield code_scatter(array(codes), labels)
    if not is_image(shape):
        return
    axis = torch.linspace(0.5 - OUTER / 2, 0.5 + OUTER / 2, GRID)
    if model.activation.samples:
        # Where the codes of new examples are: they come from the prior.
        points = torch.randn(N_POINTS, 2, generator=generator)
        xs = ys = torch.special.ndtri(axis)
    else:
        # There is no prior; the box that holds the codes has empty places, too.
        low, high = codes.amin(0), codes.amax(0)
        points = low + (high - low) * torch.rand(N_POINTS, 2, generator=generator)
        xs, ys = (torch.linspace(float(low[i]), float(high[i]), GRID) for i in (0, 1))
    decoded = _decoded(run, points)
    yield decoded_points(array(points), decoded, shape, codes=array(codes), labels=labels)
    # Rows from the top, so that the second latent grows upwards.
    ys = ys.flip(0)
    crossed = torch.cartesian_prod(ys, xs).flip(1)
    yield decoded_grid(_decoded(run, crossed), shape, xs=array(xs), ys=array(ys))


@torch.no_grad()
def draw_latents(run: Run, dead: npt.NDArray[np.bool_]) -> Iterator[Picture]:
    """Of what stands behind the codes: the penalty's target, the sheet or tree of latents, and how
    far encoder and decoder of a latent that a classifier shaped have come apart.

    Args:
        dead: ``(n_latents,)``, those that no validation example activates.
    """
    model, penalty = run.training.autoencoder, run.training.network.penalty
    shape = run.training.dataset.shape.input_shape
    if isinstance(penalty, TargetPenalty):
        yield penalty_curves(penalty.target)
    linear = model.linear_decoder()
    if linear is None:
        return
    columns, _ = linear
    rows = model.filters()
    if run.parts.supervision is not None and rows is not None and rows.shape == columns.t().shape:
        yield angle_histogram(array(part_angles(rows, columns)), dead=dead)
    if not is_image(shape):
        return
    atoms = array(columns.t())
    if isinstance(penalty, OnSheet) and len(penalty.sheet) == 2:
        rows_and_columns = (penalty.sheet[0], penalty.sheet[1])
        yield topographic_map(atoms, shape, rows_and_columns, wrap=penalty.wrap)
        yield orientation_map(atoms, shape, rows_and_columns, wrap=penalty.wrap)
    if isinstance(penalty, InTrees):
        yield tree_map(atoms, shape, penalty.parents.cpu().numpy())


def _decoded(run: Run, codes: Tensor) -> Floats:
    x_hat = run.training.autoencoder.decode(codes.to(run.parts.device.torch))
    # Cut to the range of the data, as whoever shows an image does.
    data = run.training.dataset.interval
    return array(x_hat.flatten(1).clamp(data.low, data.high))


def array(tensor: Tensor) -> Floats:
    """On the host, for a picture."""
    return tensor.float().cpu().numpy()

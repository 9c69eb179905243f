"""Pictures of decoded codes: in the plane of two latents, and drawn from a prior."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.codes.decoded_grid import decoded_grid
from sae_cli.pictures.codes.decoded_points import decoded_points
from sae_cli.pictures.codes.samples import samples
from sae_cli.pictures.picture import Floats, Picture
from sae_cli.pictures.tiles import is_image
from sae_cli.pictures.view import View

N_POINTS = 30
N_SAMPLES = 64
GRID = 15
# The share of the prior between the first and last row of a grid.
OUTER = 0.98


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw points and a grid among codes of two latents, and samples where codes have a prior.

    One function draws all of them, because they share a random stream.
    """
    shape = view.input_shape
    if not view.decoder_trained or not is_image(shape):
        return
    generator = Generator("cpu").manual_seed(view.seed)
    if view.n_latents == 2:
        points, xs, ys = _choose_in_plane(view, generator)
        yield decoded_points(
            points, view.decode(points), shape, codes=view.codes, labels=view.labels
        )
        crossed = torch.cartesian_prod(torch.from_numpy(ys), torch.from_numpy(xs)).flip(1).numpy()
        yield decoded_grid(view.decode(crossed), shape, xs=xs, ys=ys)
    if view.has_prior:
        drawn = torch.randn(N_SAMPLES, view.n_latents, generator=generator).numpy()
        title = f"Decoded draws from the prior N(0, 1) ({N_SAMPLES})"
        yield samples(view.decode(drawn), shape, title=title)


def _choose_in_plane(view: View, generator: Generator) -> tuple[Floats, Floats, Floats]:
    """Choose random points ``(N_POINTS, 2)``, and the columns and rows of a grid, ``(GRID,)`` each.

    Rows are in falling order, so that the second latent grows upwards.
    """
    if view.has_prior:
        # Codes of new examples come from the prior.
        points = torch.randn(N_POINTS, 2, generator=generator).numpy()
        share = torch.linspace(0.5 - OUTER / 2, 0.5 + OUTER / 2, GRID)
        values = torch.special.ndtri(share)
        return points, values.numpy(), values.flip(0).numpy()
    # Without a prior, points fall anywhere in the box of the codes, its empty places included.
    low, high = view.codes.min(0), view.codes.max(0)
    points = low + (high - low) * torch.rand(N_POINTS, 2, generator=generator).numpy()
    xs, ys = (torch.linspace(float(low[i]), float(high[i]), GRID) for i in (0, 1))
    return points, xs.numpy(), ys.flip(0).numpy()

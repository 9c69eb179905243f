"""The test examples that are reconstructed worst."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.examples.reconstructions import PLOTS, draw_plots, draw_strip
from sae_cli.pictures.picture import Picture
from sae_cli.pictures.tiles import is_image
from sae_cli.pictures.view import View, Worst


@register(Chapter.EXAMPLES)
def draw(view: View) -> Iterator[Picture]:
    """Draw them where the decoder was trained."""
    if view.decoder_trained:
        yield worst_reconstructions(view.worst)


def worst_reconstructions(worst: Worst) -> Picture:
    """Draw the inputs over their reconstructions, and the differences of the two.

    Images stand in a strip, the worst at the left. Other examples are line plots of their
    features, for the first eight. A difference is the reconstruction minus the input.

    Numbers: ``x``, ``x_hat``, ``difference``, ``mse`` and ``rows`` (places in the test split) of
    the drawn examples, and ``n_compared``.

    Raises:
        ValueError: no example, or arrays of different shapes.
    """
    x, x_hat, mse, rows, n_compared = worst
    if not x.size or x.shape != x_hat.shape or mse.shape != (len(x),) or rows.shape != (len(x),):
        raise ValueError(
            f"x has shape {x.shape}, x_hat {x_hat.shape}, mse {mse.shape} and rows {rows.shape}; "
            "needed: at least 1 example, of each an input, a reconstruction, an error and a row"
        )
    image = is_image(x.shape[1:])
    n = len(x) if image else min(len(x), PLOTS)
    with np.errstate(invalid="ignore", over="ignore"):  # a diverged run still gets its picture
        difference = x_hat[:n] - x[:n]
    shown = {"x": np.array(x[:n]), "x_hat": np.array(x_hat[:n]), "difference": difference}
    errors = mse[:n].astype(np.float64)
    title = f"Worst reconstructions: {n} of {counted(n_compared, 'test example')}"
    figure = (draw_strip if image else draw_plots)(shown, errors, title)
    numbers = {**shown, "mse": errors, "rows": rows[:n].copy(), "n_compared": np.array(n_compared)}
    return Picture("worst_reconstructions", figure, numbers)

"""Inputs beside their reconstructions, each with its error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import colours, scale_about_zero
from sae_cli.pictures.picture import (
    DPI,
    FIRST,
    GREY,
    SECOND,
    TEXT_POINTS,
    Floats,
    Picture,
    heading,
    heading_width,
    new_figure,
    plain_axes,
    whole_numbers,
)
from sae_cli.pictures.tiles import is_image, montage, place, write_beside, zoom_for
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "reconstructions"
ROWS = {
    **{"x": "input", "corrupted": "corrupted input", "x_hat": "reconstruction"},
    "difference": "difference",
}
LINES: dict[
    str, dict[str, Any]
] = {  # the input is broad and pale, so that a good reconstruction does not hide it
    "x": {"color": FIRST, "linewidth": 2.6, "alpha": 0.45},
    "corrupted": {"color": "0.45", "linewidth": 0.6},
    "x_hat": {"color": SECOND, "linewidth": 0.9},
    "difference": {"color": GREY, "linewidth": 0.6},
}
STRIP = 20  # the most images side by side; further ones continue below
PLOTS = 8  # examples drawn when they are not images
WIDTH = 9.4  # inches: the least that holds the plots' title and legend side by side
STRIP_PIXELS = 1120  # width that the tiles of a strip should fill
TILE_PIXELS = (56, 168)  # narrowest (the error still fits below it) and widest tile
LABELS, TITLE, ERRORS = 1.15, 0.52, 0.26  # inches: left of a strip, above it, below it


@register(Chapter.EXAMPLES)
def draw(view: View) -> Iterator[Picture]:
    """Draw the examples where the decoder was trained."""
    if view.decoder_trained:
        x, corrupted, x_hat = view.examples
        yield reconstructions(x, x_hat, corrupted=corrupted)


def reconstructions(x: Floats, x_hat: Floats, *, corrupted: Floats | None = None) -> Picture:
    """Draw ``x`` over (``corrupted`` over) ``x_hat``, all ``(n, *shape)``.

    Examples of shape ``(1, h, w)`` or ``(3, h, w)`` become a strip of images. Examples of any
    other shape become line plots of their features, for the first eight. The error of an example
    is its squared error averaged over all features.

    Numbers: ``x``, ``x_hat``, ``corrupted`` if given, and ``mse`` ``(n,)``, of the drawn examples.

    Raises:
        ValueError: no example, or arrays of different shapes.
    """
    rows = {"x": x} | ({} if corrupted is None else {"corrupted": corrupted}) | {"x_hat": x_hat}
    for name, row in rows.items():
        if row.shape != x.shape or not row.size:
            raise ValueError(f"{name} has shape {row.shape}; needed: {x.shape}, at least 1 example")
    image = is_image(x.shape[1:])
    shown = {name: np.array(row if image else row[:PLOTS]) for name, row in rows.items()}
    mse = _mse(shown["x"], shown["x_hat"])
    draw_them = draw_strip if image else draw_plots
    return Picture(NAME, draw_them(shown, mse, _title(mse)), shown | {"mse": mse})


def _mse(x: Floats, x_hat: Floats) -> Floats:
    """Mean over features of the squared error, in float64: ``(n,)``."""
    with np.errstate(invalid="ignore", over="ignore"):  # a diverged run still gets its picture
        error = x_hat.astype(np.float64) - x
        return np.asarray(np.mean(error.reshape(len(error), -1) ** 2, axis=1))


def _title(mse: Floats) -> str:
    if len(mse) == 1:
        return "Input and reconstruction of 1 example"
    return f"Inputs and reconstructions: mean MSE {mse.mean():.3g} over {len(mse)} examples"


def input_range(x: Floats) -> tuple[float, float]:
    """The values drawn darkest and brightest in every row: the range of the inputs."""
    finite = x[np.isfinite(x)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if x.shape[1] == 3 and low >= 0 and high <= 1:
        return 0.0, 1.0  # such pixels are colours already
    return (low, high) if low < high else (low, low + 1.0)


def draw_strip(shown: dict[str, Floats], mse: Floats, title: str) -> Figure:
    """Draw rows of images ``(n, c, h, w)``, which have the names in ``ROWS``, over their errors.

    More than ``STRIP`` columns continue in a further band below. Differences have a colour scale
    of their own, symmetric about zero; those of colours are averaged over the channels.
    """
    n, _, height, width = shown["x"].shape
    columns = min(n, STRIP)
    low, high = input_range(shown["x"])
    coloured, note = _colour_rows(shown, low, high)
    tile = int(np.clip(STRIP_PIXELS // columns, *TILE_PIXELS))
    zoom = zoom_for(height, width, tile)
    shrink = min(1.0, tile / max(height, width))
    bands = []
    for start in range(0, n, columns):
        band = [row[start : start + columns] for row in coloured]
        rgb = np.concatenate(band)
        bands.append(montage(rgb, len(band[0]), zoom))
    step = bands[0].shape[0] * shrink / DPI + ERRORS
    content = LABELS + bands[0].shape[1] * shrink / DPI + 0.12
    figure = new_figure(
        max(content, heading_width(title, note)),
        TITLE + step * len(bands) + 0.04,
        constrained=False,
    )
    heading(figure, title, note)
    for index, pixels in enumerate(bands):
        axes = place(figure, pixels, left=LABELS, top=TITLE + index * step, shrink=shrink)
        errors = mse[index * columns : (index + 1) * columns]
        _label(axes, [ROWS[name] for name in shown], errors, pixels.shape[:2])
    return figure


def _colour_rows(shown: dict[str, Floats], low: float, high: float) -> tuple[list[Floats], str]:
    """Colour each row as ``(n, h, w, 3)``, and say how in a note."""
    from matplotlib import colormaps

    coloured, note = [], _note(low, high, shown["x"].shape[1])
    for name, row in shown.items():
        if name == "difference":
            rgb, limit = scale_about_zero(row.mean(1, keepdims=True))
            note += f"; difference: blue below -{limit:.2g}, red above {limit:.2g}"
            coloured.append(rgb)
        else:
            coloured.append(colours(row, low, high, colormaps["gray"]))
    return coloured, note


def _note(low: float, high: float, channels: int) -> str:
    if channels == 1:
        return f"black is {low:.3g} and white is {high:.3g} (the range of the inputs) in every row"
    return f"colour channels from {low:.3g} to {high:.3g} in every row"


def _label(axes: Axes, rows: list[str], errors: Floats, size: tuple[int, ...]) -> None:
    """Write row names to the left of a strip and each example's error under its column."""
    height, width = size
    for index, row in enumerate(rows):
        y = height * (index + 0.5) / len(rows)
        write_beside(axes, row, (0, y), (-6, 0), 9)
    write_beside(axes, "MSE", (0, height), (-6, -3), TEXT_POINTS, GREY)
    # Errors below narrow tiles have one digit fewer, so that neighbours do not touch.
    digits, points = (2, 6.5) if width / len(errors) < 70 else (3, 7.5)
    for index, error in enumerate(errors):
        x = width * (index + 0.5) / len(errors)
        text = f"{error:#.{digits}g}".rstrip(".")
        write_beside(axes, text, (x, height), (0, -3), points, GREY)


def draw_plots(shown: dict[str, Floats], mse: Floats, title: str) -> Figure:
    """Draw one line plot per example: the value of each feature in each of the rows."""
    n = len(mse)
    columns = 1 if n == 1 else max(2, -(-n // 2))
    rows = -(-n // columns)
    figure = new_figure(max(WIDTH, 2.9 * columns), 0.7 + 1.75 * rows, constrained=True)
    heading(figure, title)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    n_features = shown["x"][0].size
    marker = {"marker": "o", "markersize": 3} if n_features <= 32 else {}
    for index, axes in enumerate(grid.flat):
        if index >= n:
            axes.set_visible(False)
            continue
        plain_axes(axes, grid=True)
        whole_numbers(axes.xaxis)
        axes.tick_params(labelbottom=index + columns >= n)  # also above an empty cell
        for name, row in shown.items():
            axes.plot(row[index].reshape(-1), label=ROWS[name], **LINES[name], **marker)
        axes.set_title(f"MSE {mse[index]:.3g}", fontsize=TEXT_POINTS, color=GREY, loc="left", pad=3)
    figure.supxlabel("feature", fontsize=9)
    figure.supylabel("value", fontsize=9)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper right",
        ncols=len(labels),
        fontsize=TEXT_POINTS,
        frameon=False,
        borderaxespad=0.2,
    )
    return figure

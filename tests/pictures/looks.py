"""Checks of every picture, whatever it shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from sae_cli.pictures import Picture, render


def check_looks(picture: Picture) -> bytes:
    """Check that nothing is cut off, margins are small, and files keep the picture and its numbers.

    Returns:
        its PNG.
    """
    assert type(picture.figure) is Figure
    png = render(picture)
    _check_png(png, picture.figure)
    _check_margins(picture.figure)
    _check_numbers(picture)
    return png


def _check_margins(figure: Figure) -> None:
    drawn = figure.get_tightbbox()  # of all artists, in inches
    width, height = figure.get_size_inches()
    assert drawn.x0 >= -0.01 and drawn.x1 <= width + 0.01
    assert drawn.y0 >= -0.01 and drawn.y1 <= height + 0.01
    assert drawn.x0 < 0.2 and drawn.y0 < 0.3 and drawn.y1 > height - 0.2


def _check_png(png: bytes, figure: Figure) -> None:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(io.BytesIO(png))
    width, height = figure.get_size_inches() * 150
    assert pixels.shape[:2] == pytest.approx((height, width), abs=1)
    assert pixels.shape[0] < 2000 and pixels.shape[1] < 2000
    assert pixels[..., :3].std() > 0.01


def _check_numbers(picture: Picture) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **picture.numbers)  # type: ignore[arg-type]
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as kept:
        assert set(kept.files) == set(picture.numbers)
        for name, values in picture.numbers.items():
            np.testing.assert_array_equal(kept[name], values)

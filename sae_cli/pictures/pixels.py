"""An image that is drawn pixel for pixel. Imports matplotlib, so import it where it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.image import AxesImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Pixels(AxesImage):
    """An image that is copied where it fills its axes pixel by pixel, and resampled elsewhere.

    Matplotlib would compute an equal image through floats, for half of the time that a montage
    takes to draw.
    """

    def make_image(
        self, renderer: Any, magnification: float = 1.0, unsampled: bool = False
    ) -> tuple[Any, float, float, Any]:
        """Give the pixels ``(height, width, 4)`` and the place of their lower left corner."""
        pixels, box = self.get_array(), self.axes.bbox
        edges = np.round(box.extents)
        on_grid = np.allclose(box.extents, edges, atol=0.01)
        size = (edges[3] - edges[1], edges[2] - edges[0])
        if unsampled or magnification != 1 or not on_grid or pixels.shape[:2] != size:
            return super().make_image(renderer, magnification, unsampled)
        opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
        opaque[..., :3] = pixels[::-1]
        return opaque, edges[0], edges[1], None


def add_pixels(axes: Axes, pixels: Any) -> None:
    """Fill axes that count in pixels, downwards, with an image ``(height, width, 3)`` of bytes."""
    height, width = pixels.shape[:2]
    image = Pixels(axes, extent=(0, width, height, 0), origin="upper")
    image.set_data(pixels)
    axes.add_image(image)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")

"""An image that is drawn pixel for pixel."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


def add_pixels(axes: Axes, pixels: npt.NDArray[np.uint8]) -> None:
    """Fill axes with an image ``(height, width, 3)``; they count in its pixels, downwards."""
    height, width = pixels.shape[:2]
    extent = (0, width, height, 0)
    image = _image_class()(axes, extent=extent, origin="upper", resample=True)
    image.set_data(pixels)
    image.set_clip_path(axes.patch)
    axes.add_image(image)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")


@cache
def _image_class() -> type[AxesImage]:
    """Define the class when it is needed, because this file does not import matplotlib."""
    from matplotlib.image import AxesImage

    class Pixels(AxesImage):
        """An image that is copied where it fills its axes pixel by pixel, else resampled.

        Matplotlib would compute an equal image through floats, which takes as long as all else in
        a montage.
        """

        def make_image(
            self, renderer: Any, magnification: float = 1.0, unsampled: bool = False
        ) -> Any:
            pixels, extents = np.asarray(self.get_array()), self.axes.bbox.extents
            left, bottom, right, top = edges = np.round(extents)
            fits = pixels.shape[:2] == (top - bottom, right - left)
            if unsampled or magnification != 1 or not fits or abs(edges - extents).max() > 0.01:
                return super().make_image(renderer, magnification, unsampled)
            # Matplotlib's renderer takes the lowest row first, and opacity beside the colours.
            opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
            opaque[..., :3] = pixels[::-1]
            return opaque, left, bottom, None

    return Pixels

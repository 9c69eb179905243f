"""One picture of a user's own: upright, opaque, in grey or colour, and never with bits cut off."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sae_cli.core.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

# A longer picture would be resized to something far larger than the centre that is cut out.
MAX_ASPECT = 1000

# What lies behind a picture that is transparent, as in most viewers.
BACKGROUND = (255, 255, 255, 255)

# Tags of TIFF files; a sample format of 1 is unsigned.
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339

ORIENTATION = 274


class Picture(NamedTuple):
    """A decoded picture, and whether its file holds more of them (an animation, further pages)."""

    image: Image.Image
    is_first_of_several: bool


def read_picture(path: Path, mode: Literal["L", "RGB"]) -> Picture:
    """Read a picture in grey (``L``) or in colour, turned upright as its EXIF orientation says.

    A transparent picture is laid on white.

    Raises:
        ConfigError: it cannot be read, has more than 8 bits a channel, or one side is more than
            ``MAX_ASPECT`` times the other.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if not 0 < max(image.size) <= MAX_ASPECT * min(image.size):
                raise ConfigError(
                    f"{path} is {image.width} x {image.height} pixels; one side may be at most "
                    f"{MAX_ASPECT} times the other; crop or remove it"
                )
            _check_bits(path, image)
            # An MPO file of a camera adds previews of the same picture.
            several = image.format != "MPO" and getattr(image, "is_animated", False)
            image.load()
            return Picture(_lay_down(_turn(image)).convert(mode), several)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"{path} cannot be read as a picture ({text}); mend or remove it"
        ) from None


def describe_first(n: int) -> str:
    """Word of how many files only the first of several pictures was read; nothing if of none."""
    return f"only the first picture of {n} animations or files of several pages" if n else ""


def _check_bits(path: Path, image: ImageFile.ImageFile) -> None:
    """Refuse pixels that Pillow would cut to 8 bits, or whose range nobody states.

    Raises:
        ConfigError: it has more than 8 bits a channel, or signed ones.
    """
    tags = getattr(image, "tag_v2", {})
    deep = max(tags.get(BITS_PER_SAMPLE, (8,))) > 8 or any(map(_is_deep, image.tile))
    if deep or image.mode.startswith(("I", "F")):
        raise ConfigError(
            f"{path} has pixels of more than 8 bits (mode {image.mode}); convert it to 8"
        )
    if 2 in tags.get(SAMPLE_FORMAT, ()):
        raise ConfigError(f"{path} has signed pixels; convert it to 8 bits without a sign")


def _is_deep(tile: Any) -> bool:
    """Whether the decoder's first argument is one of Pillow's names for 16 bits a channel."""
    # BGR;16 is a whole pixel of 16 bits, which BMP has.
    first = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return isinstance(first, str) and first.endswith((";16B", ";16L"))


def _turn(image: Image.Image) -> Image.Image:
    """Turn and mirror a loaded picture as its EXIF orientation says."""
    from PIL import Image

    ways = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        with warnings.catch_warnings():
            # Pillow warns of EXIF that is cut off, about which nobody needs to do anything.
            warnings.simplefilter("ignore")
            orientation = image.getexif().get(ORIENTATION)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        # Broken EXIF says nothing, and the pixels are whole.
        return image
    way = ways.get(orientation) if isinstance(orientation, int) else None
    return image if way is None else image.transpose(way)


def _lay_down(image: Image.Image) -> Image.Image:
    """Lay a transparent picture on the background; an opaque one stays as it is."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    if image.mode == "La":
        image = image.convert("LA")
    behind = Image.new("RGBA", image.size, BACKGROUND)
    return Image.alpha_composite(behind, image.convert("RGBA"))

"""Decoding of images: turned as their EXIF data say, and made opaque."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

ORIENTATION = 0x0112
"""EXIF tag of the orientation of the camera."""
GREY_LEVELS = {"L;2": 85, "L;4": 17}
"""Pillow spreads the levels of such a PNG over 0 to 255, but not the one that the PNG declares transparent."""


class Decoded(NamedTuple):
    """An RGB or grey image, and whether it was composed or turned."""

    image: Image
    composed: bool
    """Whether it was laid on the background, since a pixel was not opaque."""
    turned: bool
    """Whether it was turned or mirrored."""


def decode(file: ImageFile, mode: str, background: tuple[int, int, int]) -> Decoded:
    """The image in `file`, converted to `mode` (`RGB` or `L`), in front of `background` if it is not opaque.

    Source: the PNG specification (W3C, third edition), 12.5 and 13.16: a pixel of alpha a is a times its colour and 1 - a times
    the background's, before anything else is done to it.
    """
    coding = file.tile[0].args if file.tile else None  # Pillow empties `tile` when it loads the pixels.
    file.load()
    image, turned = _upright(file)
    alpha = _alpha(image, coding)
    if alpha is None or alpha.getextrema()[0] == 255:
        # Pillow converts LAB to RGB only.
        return Decoded((image.convert("RGB") if image.mode == "LAB" else image).convert(mode), False, turned)
    from PIL import Image as pillow

    canvas = pillow.new("RGB", image.size, background)
    canvas.paste(_with_alpha(image).convert("RGB"), mask=alpha)
    return Decoded(canvas.convert(mode), True, turned)


def _upright(image: Image) -> tuple[Image, bool]:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 0))
    except Exception:  # Pillow raises many kinds of errors for damaged EXIF data; the pixels are not affected.
        turn = None
    if turn is None:
        return image, False
    upright = image.transpose(turn)
    upright.info = image.info
    return upright, True


def _alpha(image: Image, coding: Any) -> Image | None:
    """Opacity of each pixel, 0 to 255, as an image; None if all are opaque by format. Raises ValueError if it is ambiguous."""
    if not image.has_transparency_data:
        return None
    transparent = image.info.get("transparency")
    if isinstance(coding, str) and ";16" in coding and isinstance(transparent, tuple):
        raise ValueError("one of its 16-bit colours is transparent, which eight bits cannot tell from others; convert it")
    if isinstance(transparent, int) and isinstance(coding, str) and coding in GREY_LEVELS:
        image.info["transparency"] = transparent * GREY_LEVELS[coding]
    return _with_alpha(image).getchannel("A")


def _with_alpha(image: Image) -> Image:
    # Pillow converts premultiplied grey (La) to LA only.
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")

"""A decoded image as it is meant to be seen: turned as its EXIF data say, and opaque."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112
"""EXIF tag: how the camera was held."""
GREY_LEVELS = {"L;2": 85, "L;4": 17}
"""Pillow spreads the levels of such a PNG over 0 to 255, but not the one that the PNG declares transparent."""


class Seen(NamedTuple):
    """An RGB or grey image, and what was done to it on the way."""

    image: Image
    composed: bool
    """Whether a pixel of it was not opaque."""
    turned: bool
    """Whether it was turned or mirrored."""


def seen(image: Image, mode: str, background: tuple[int, int, int]) -> Seen:
    """`image` in `mode`, `RGB` or `L`, in front of `background`. An opaque image is merely converted.

    Source: the PNG specification (W3C, third edition), 12.5 and 13.16: a pixel of alpha a is a times its colour and 1 - a times
    the background's, before anything else is done to it.
    """
    coding = image.tile[0].args if image.tile else None  # Gone once it is loaded.
    image.load()
    image, turned = _upright(image)
    alpha = _alpha(image, coding)
    if alpha is None or alpha.getextrema()[0] == 255:
        # From LAB, Pillow goes to RGB alone.
        return Seen((image.convert("RGB") if image.mode == "LAB" else image).convert(mode), False, turned)
    from PIL import Image as pillow

    canvas = pillow.new("RGB", image.size, background)
    canvas.paste(_with_alpha(image).convert("RGB"), mask=alpha)
    return Seen(canvas.convert(mode), True, turned)


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
        turn = turns.get(image.getexif().get(ORIENTATION))
    except Exception:  # Of damaged EXIF data, Pillow raises this and that; the pixels are none the worse for it.
        turn = None
    if turn is None:
        return image, False
    upright = image.transpose(turn)
    upright.info = image.info
    return upright, True


def _alpha(image: Image, coding: Any) -> Image | None:
    """How opaque each pixel is, 0 to 255; None if the image has no such thing. Raises ValueError if that cannot be told."""
    if not image.has_transparency_data:
        return None
    transparent = image.info.get("transparency")
    if isinstance(coding, str) and ";16" in coding and isinstance(transparent, tuple):
        raise ValueError("one of its 16-bit colours is transparent, which eight bits cannot tell from others; convert it")
    if isinstance(transparent, int) and isinstance(coding, str) and coding in GREY_LEVELS:
        image.info["transparency"] = transparent * GREY_LEVELS[coding]
    return _with_alpha(image).getchannel("A")


def _with_alpha(image: Image) -> Image:
    # Of premultiplied grey, Pillow goes to plain grey alone.
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")

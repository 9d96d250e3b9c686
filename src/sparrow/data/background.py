"""The colour behind the transparent parts of an image. Imports nothing that takes time."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

NAMED = {"white": (255, 255, 255), "black": (0, 0, 0)}
HEXADECIMAL = re.compile("#[0-9a-fA-F]{6}")


def colour(background: Any) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a background as configured. Raises ValueError for anything else."""
    if background in NAMED:
        return NAMED[background]
    if isinstance(background, int) and not isinstance(background, bool) and 0 <= background <= 255:
        return (background, background, background)
    if isinstance(background, str) and HEXADECIMAL.fullmatch(background):
        red, green, blue = bytes.fromhex(background[1:])
        return (red, green, blue)
    raise ValueError(f"{background!r} is no colour; valid: white, black, a level of grey from 0 to 255, or '#rrggbb' in quotes")


def _checked(background: Any) -> Any:
    colour(background)
    return background


Background = Annotated[
    str | int,
    BeforeValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(NAMED)},
                {"type": "string", "pattern": f"^{HEXADECIMAL.pattern}$"},
                {"type": "integer", "minimum": 0, "maximum": 255},
            ]
        }
    ),
]

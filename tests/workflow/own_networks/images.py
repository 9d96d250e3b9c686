"""Images of one's own: PNGs of uneven sizes in three classes, drawn by Pillow and the same each time."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ("disc", "frame", "stripes")


def draw(folder: Path, each: int) -> None:
    """Write `each` images of each class to folders of the classes' names in `folder`."""
    numbers = random.Random(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            _image(name, numbers).save(folder / name / f"{number:02}.png")


def _image(name: str, numbers: random.Random) -> Image.Image:
    width, height = (numbers.randint(17, 61) for _ in range(2))
    paper, ink = (tuple(numbers.randint(*levels) for _ in range(3)) for levels in ((150, 255), (0, 105)))
    image = Image.new("RGB", (width, height), paper)
    pen, middle, size = ImageDraw.Draw(image), (width // 2, height // 2), min(width, height) // 3
    box = [middle[0] - size, middle[1] - size, middle[0] + size, middle[1] + size]
    if name == "disc":
        pen.ellipse(box, fill=ink)
    elif name == "frame":
        pen.rectangle(box, outline=ink, width=max(2, size // 4))
    else:
        for row in range(0, height, 8):
            pen.rectangle([0, row, width, row + 3], fill=ink)
    return image

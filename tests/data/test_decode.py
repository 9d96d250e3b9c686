"""Images that are transparent or were taken with the camera turned."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sparrow.datasets import image_folder
from sparrow.errors import ConfigError, SparrowError
from sparrow.study.load import load_study
from tests.workflow.conftest import TINY

COLOUR, ALPHA = (200, 100, 0), 51  # A fifth: the background shows by four fifths.


def _png(depth: int, kind: int, sample: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 2 x 2 pixels whose rows are `sample`, by the specification (W3C, Portable Network Graphics), without Pillow."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, depth, kind, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(2 * (b"\0" + sample)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + rows + chunk(b"IEND", b"")


def _save(mode: str, fill, **options):
    return lambda path: Image.new(mode, (2, 2), fill).save(path, **options)


def _palette(transparency):
    def write(path: Path) -> None:
        image = Image.new("P", (2, 2), 1)
        image.putpalette([0, 0, 0, *COLOUR])
        image.save(path, transparency=transparency)

    return write


def _wide(colour: tuple[int, ...]) -> bytes:
    return 2 * struct.pack(f">{len(colour)}H", *(257 * value for value in colour))


def _load(folder: Path, write, **params) -> np.ndarray:
    """The first image of the first class, (channels, height, width)."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        write(folder / name / "0.png")
    params = {"folder": str(folder), "size": 2, "classes": 2} | params
    return image_folder.load(image_folder.Params(**params)).train.images[0]


WHOLE = (0, 0, 0)
"""Nothing of a colour is seen: it is wholly transparent."""
KINDS = {
    "RGBA": (_save("RGBA", (*COLOUR, ALPHA)), COLOUR, ALPHA),
    "RGBA, 16 bits": (lambda path: path.write_bytes(_png(16, 6, _wide((*COLOUR, ALPHA)))), COLOUR, ALPHA),
    "LA": (_save("LA", (100, ALPHA)), (100,) * 3, ALPHA),
    "LA, 16 bits": (lambda path: path.write_bytes(_png(16, 4, _wide((100, ALPHA)))), (100,) * 3, ALPHA),
    "palette, one alpha a colour": (_palette(bytes([255, ALPHA])), COLOUR, ALPHA),
    "palette, one colour transparent": (_palette(1), WHOLE, 0),
    "RGB, one colour transparent": (_save("RGB", COLOUR, transparency=COLOUR), WHOLE, 0),
    "L, one level transparent": (_save("L", 100, transparency=100), WHOLE, 0),
    "L, 4 bits": (lambda path: path.write_bytes(_png(4, 0, b"\xaa", (b"tRNS", b"\0\x0a"))), WHOLE, 0),
    "L, 2 bits": (lambda path: path.write_bytes(_png(2, 0, b"\xa0", (b"tRNS", b"\0\x02"))), WHOLE, 0),
    "L, 1 bit": (lambda path: path.write_bytes(_png(1, 0, b"\xc0", (b"tRNS", b"\0\x01"))), WHOLE, 0),
}
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), 70: (70, 70, 70), "#0a14Fe": (10, 20, 254)}


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize(("write", "colour", "alpha"), KINDS.values(), ids=KINDS)
def test_a_transparent_pixel_is_mixed_with_the_background(tmp_path: Path, write, colour, alpha, background) -> None:
    pixels = _load(tmp_path, write, background=background)
    behind = BACKGROUNDS[background]
    expected = [round((alpha * own + (255 - alpha) * other) / 255) for own, other in zip(colour, behind, strict=True)]
    assert pixels.reshape(3, 4).T.tolist() == [expected] * 4


def test_grey_images_are_mixed_too(tmp_path: Path) -> None:
    # 0.2 * 100 + 0.8 * 255.
    assert _load(tmp_path, KINDS["LA"][0], channels=1).tolist() == [[[224, 224], [224, 224]]]


def test_what_is_black_on_transparency_is_no_black_image(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def glyph(path: Path) -> None:
        image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
        image.putpixel((1, 0), (0, 0, 0, 255))
        image.save(path)

    assert _load(tmp_path, glyph)[0].tolist() == [[255, 0], [255, 255]]
    assert "2 of 2 are transparent: laid on `background: white`" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_image_is_what_it_was(tmp_path: Path, capsys: pytest.CaptureFixture, mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 2, len(mode)), np.uint8)
    colours[..., -1] = 255
    found = _load(tmp_path, lambda path: Image.fromarray(colours, mode=None).save(path), background="black")
    expected = colours[..., :3] if mode == "RGBA" else colours[..., :1].repeat(3, axis=-1)
    assert np.array_equal(found, expected.transpose(2, 0, 1))
    assert "transparent" not in capsys.readouterr().out


def test_what_cannot_be_told_from_its_background_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A white glyph on transparency, on a white background."""
    glyph = Image.new("RGBA", (2, 2), (255, 255, 255, 0))
    glyph.putpixel((0, 0), (255, 255, 255, 255))
    assert (_load(tmp_path, glyph.save) == 255).all()
    assert "2 of these are of one colour on it: nothing can be seen; choose another `background`" in capsys.readouterr().out
    image_folder.load(image_folder.Params(folder=str(tmp_path), size=2, classes=2, background="black"))
    assert "one colour" not in capsys.readouterr().out


def test_a_lab_image_is_grey_by_way_of_rgb(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        Image.new("LAB", (2, 2), (255, 128, 128)).save(path, "TIFF")

    # The lightest colour without a hue.
    assert (_load(tmp_path, write, channels=1) >= 254).all()


def test_a_transparent_colour_of_16_bits_is_refused(tmp_path: Path) -> None:
    content = _png(16, 2, _wide(COLOUR), (b"tRNS", _wide(COLOUR)[:6]))
    with pytest.raises(SparrowError, match=r"a/0.png is not a readable image .one of its 16-bit colours is transparent"):
        _load(tmp_path, lambda path: path.write_bytes(content))


@pytest.mark.parametrize("background", ["grey", "#fff", -1, 256, True, None, 0.5])
def test_a_background_that_is_none_is_one_line(background) -> None:
    own = {"kind": "image-folder", "folder": "images", "size": 8, "classes": 2, "background": background}
    with pytest.raises(ConfigError, match=r"datasets.own.background: .* is no colour; valid: white, black, a level of grey"):
        load_study(TINY | {"datasets": {"own": own}})


MARKED = np.arange(36, dtype=np.uint8).reshape(6, 6) * 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_are_turned_as_the_camera_says(tmp_path: Path, capsys, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(MARKED).save(tmp_path / name / f"0.{suffix}", exif=exif)
    params = image_folder.Params(folder=str(tmp_path), size=6, classes=2, channels=1)
    found = image_folder.load(params).train.images[0, 0]
    with Image.open(tmp_path / "a" / f"0.{suffix}") as image:
        assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(image)))
    # By the EXIF standard (CIPA DC-008, orientation), where the stored first row and first column are seen.
    corner = {1: (0, 0), 2: (0, 5), 3: (5, 5), 4: (5, 0), 5: (0, 0), 6: (0, 5), 7: (5, 5), 8: (5, 0)}[orientation]
    assert found[corner] == MARKED[0, 0]
    said = capsys.readouterr().out
    # Pillow turns a TIFF by itself.
    assert ("2 of 2 were turned as their EXIF orientation says" in said) == (orientation > 1 and suffix == "png")


def test_damaged_exif_data_spoil_no_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(MARKED).save(tmp_path / name / "0.png", exif=b"Exif\0\0MM\0\x2a\xff\xff")
    params = image_folder.Params(folder=str(tmp_path), size=6, classes=2, channels=1)
    assert np.array_equal(image_folder.load(params).train.images[0, 0], MARKED)

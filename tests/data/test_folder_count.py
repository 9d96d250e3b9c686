"""Images of class folders are counted by name, and as many as the data set then reads."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparrow.data.folder_count import count_images
from sparrow.datasets import image_folder
from sparrow.errors import SparrowError

NAMES = ("red/0.png", "red/1.PNG", "red/deep/2.jpg", "blue/0.png")
OTHERS = ("red/notes.txt", "blue/.hidden.png", "__MACOSX/red/0.png", ".cache/red/0.png", "red/none")


def _tree(root: Path, *inside: str) -> Path:
    """Four images in two class folders of `root`, or of the folder `inside` of it, and other files beside them."""
    for name in (*NAMES, *OTHERS):
        path = root.joinpath(*inside, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        if path.suffix.lower() in (".png", ".jpg"):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, format="PNG")
    return root


def _outside(root: Path) -> Path:
    """And one image that is in no class folder."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(_tree(root) / "cover.png")
    return root


def _linked(root: Path) -> Path:
    """And a class folder that is a link to another, a link to nothing, and one to the folder itself."""
    (_tree(root) / "green").symlink_to(root / "blue")
    (root / "red/9.png").symlink_to(root / "nothing.png")
    (root / "red/loop").symlink_to(root)
    return root


def _zipped(root: Path) -> Path:
    return Path(shutil.make_archive(str(root.parent / "zipped"), "zip", _tree(root, "above")))


def _oddly_zipped(root: Path) -> Path:
    """Backslashes, roots, doubled slashes, and one image that is there twice."""
    _tree(root)
    target = root.parent / "odd.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for name in NAMES:
            content = (root / name).read_bytes()
            for written in {"\\".join(name.split("/")), f"/{name}", name.replace("/", "//")}:
                archive.writestr(zipfile.ZipInfo(written), content)
    return target


@pytest.mark.parametrize("make", [_tree, _outside, _linked, _zipped, _oddly_zipped], ids=lambda make: make.__name__)
def test_as_many_are_counted_as_are_read(tmp_path: Path, make) -> None:
    place = make(tmp_path / "images")
    classes = 3 if make is _linked else 2
    read = image_folder.load(image_folder.Params(folder=str(place), size=8, classes=classes)).train.labels
    assert count_images(place, image_folder.SUFFIXES) == len(read) == len(NAMES) + (make is _linked)


def test_no_file_is_opened(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no image at all")
    assert count_images(tmp_path, image_folder.SUFFIXES) == 4
    assert count_images(tmp_path, (".jpg",)) == 1
    assert count_images(tmp_path, (".tif",)) == 0


def test_what_is_neither_folder_nor_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(SparrowError, match="none: no such folder or zip"):
        count_images(tmp_path / "none", (".png",))
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(SparrowError, match=r"text\.zip: neither a folder nor a zip"):
        count_images(tmp_path / "text.zip", (".png",))

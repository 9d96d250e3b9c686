"""How many images a folder or zip of class folders holds, by its files' names: none of them is opened."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sparrow.data.files import files_below
from sparrow.errors import SparrowError


def count_images(folder: Path, suffixes: tuple[str, ...]) -> int:
    """The files of `folder`, or of a zip, that `count_by_class` counts, in all. Raises as that does."""
    return sum(count_by_class(folder, suffixes).values())


def count_by_class(folder: Path, suffixes: tuple[str, ...]) -> Counter[str]:
    """The files of each class folder of `folder`, or of a zip, with one of `suffixes` and not hidden, by the folder's name.

    Class folders are the first that not all images share. Raises SparrowError, naming it, if it is neither folder nor zip.
    """
    images = {path for path in _paths(folder) if str(path).lower().endswith(suffixes) and not _hidden(path)}
    depth = 0
    while images and len({path.parts[depth] for path in images}) == 1 and all(len(path.parts) > depth + 2 for path in images):
        depth += 1
    return Counter(path.parts[depth] for path in images if len(path.parts) > depth + 1)


def _paths(folder: Path) -> Iterable[PurePosixPath]:
    """The files of a folder, links followed, or of a zip; relative to it."""
    if folder.is_dir():
        return (PurePosixPath(file.path) for file in files_below(str(folder)) if not file.fault)
    try:
        with zipfile.ZipFile(folder) as archive:
            # A zip may write `a//0.png`, `/a/0.png` or backslashes.
            names = [name.replace("\\", "/") for name in archive.namelist()]
            return [PurePosixPath(name.lstrip("/")) for name in names if not name.endswith("/")]
    except FileNotFoundError:
        raise SparrowError(f"{folder}: no such folder or zip") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise SparrowError(f"{folder}: neither a folder nor a zip ({error})") from None


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)

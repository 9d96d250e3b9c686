"""The numbers of images of a study's data sets: as prepared, as declared, or as counted by name. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sparrow import catalogue
from sparrow.data import extra
from sparrow.data.folder_count import count_images
from sparrow.data.split import HeldOut, SplitParams, sizes
from sparrow.errors import SparrowError
from sparrow.files.headers import read_header
from sparrow.files.lineage import DATA
from sparrow.files.paths import data_path
from sparrow.study import sources
from sparrow.study.config import Study

Sizes = tuple[int, int, int]
"""Training, validation and test images."""


class Uncounted(Exception):
    """Nobody can say how many images a data set has; the message says why, and names it."""


class Images:
    """Numbers of images in each part of a data set; their shape, and the number of classes."""

    def __init__(self, study: Study, label: str) -> None:
        """Raises SparrowError, naming key or file, if the files that have to be counted are not there."""
        params = study.datasets[label]
        self.shape, self.classes = catalogue.load("datasets", params.kind).describe(params)
        prepared = Path(study.results, data_path(label))
        if prepared.is_file():
            self._sizes: Sizes | str = _prepared(prepared, bool(params.extra_share))
            return
        found = sizes(params) or _counted(label, params)
        if found is None:
            self._sizes = (
                f"datasets.{label}: {params.kind} does not say how many images it has (`images: ClassVar = (900, None)` in its "
                f"Params would), and {prepared} is not there yet; prepare it first (sparrow run STUDY.yaml --cores 1 "
                f"{prepared})"
            )
        elif min(found) < 1:
            self._sizes = f"datasets.{label}: {sum(found):,} images, too few for training, validation and test"
        else:
            more = 0 if params.extra_share else extra.count(params)
            self._sizes = found[0] + more, *found[1:]

    @property
    def train(self) -> int:
        """Training images, with the extra ones that lengthen an epoch. Raises Uncounted, as all parts do, if nobody knows."""
        return self._known()[0]

    @property
    def validation(self) -> int:
        """Validation images."""
        return self._known()[1]

    @property
    def test(self) -> int:
        """Test images."""
        return self._known()[2]

    def _known(self) -> Sizes:
        if isinstance(self._sizes, str):
            raise Uncounted(self._sizes)
        return self._sizes


def _prepared(path: Path, extra_share: bool) -> Sizes:
    header = read_header(path, DATA)
    train, validation, test = (header["parts"][name] for name in ("train", "validation", "test"))
    # Extra images that are a fixed share of each batch do not lengthen an epoch.
    return train - (header.get("extra", {}).get("images", 0) if extra_share else 0), validation, test


def _counted(label: str, params: Any) -> Sizes | None:
    """The parts of a data set of class folders, from the names of its files; None for one of another kind.

    Its file says with `SUFFIXES` which files are images, and with `files` where: of training, and of an official test set.
    """
    entry = catalogue.load("datasets", params.kind)
    if not (hasattr(entry, "SUFFIXES") and hasattr(entry, "files")):
        return None
    sources.require(label, params)
    try:
        whole, *test = (count_images(Path(path), tuple(entry.SUFFIXES)) for path in entry.files(params))
    except SparrowError as error:
        raise SparrowError(f"datasets.{label}: {error}") from None
    return _divided(params, whole, test[0] if test else None)


def _divided(params: HeldOut, whole: int, test: int | None) -> Sizes | None:
    """The parts of a data set of so many images, as a job would divide them; None if its test images are missing."""
    if test is None and not isinstance(params, SplitParams):
        return None

    class Declared(SplitParams):
        images: ClassVar[tuple[int, int | None] | None] = (whole, test)

    shares = params.model_dump(include={"validation", "test"})
    return sizes(Declared.model_construct(**shares))

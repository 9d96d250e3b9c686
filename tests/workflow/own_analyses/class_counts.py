"""Class counts: how many test images there are of each class.

Source: the tests of Sparrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparrow.settings import Analysis, Columns, Scope

if TYPE_CHECKING:
    from sparrow.inference.subjects import OneDataSet


class Params(Analysis):
    """It has none."""

    scope: ClassVar[Scope] = "dataset"
    tables: ClassVar[Columns] = {"class-counts": ("label", "images"), "sizes": ("part", "images")}


def analyse(subject: OneDataSet, params: Params) -> dict[str, list[tuple]]:
    """A row for each class, and one for each part."""
    labels = subject.data.part("test").labels.tolist()
    return {
        "class-counts": [(label, labels.count(label)) for label in range(subject.data.about.classes)],
        "sizes": [(part, len(subject.data.part(part))) for part in ("train", "validation", "test")],
    }

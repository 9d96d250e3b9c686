"""What all files of a study are held against."""

from __future__ import annotations

from typing import Any

from sparrow.files.specs import PlainValues, Spec
from sparrow.settings import Scope

Places = dict[str, int]
"""Of each key of a job's spec, the place of its value in the list `Expected.values`."""


class ExpectedFamily(PlainValues):
    """How the files of the networks of one data set, model and objective must have been made."""

    initial: Places
    dense: Places
    pruned: dict[str, Places]
    finetuned: dict[str, Places]
    grafted: dict[str, Places]
    """All three by method and ratio (`files.paths.cell_name`); none is grafted in a study without `grafting`."""
    variants: dict[str, Places]
    """Those that are evaluated, by the checkpoint's path below the folder of its seed."""
    tables: dict[str, Places]
    """By path."""


class ExpectedAnalysis(PlainValues):
    """How the tables of an analysis must have been made."""

    scope: Scope
    specs: dict[str, Places]
    """By the labels of what it is about, such as `dataset/model/objective`."""


class Expected(Spec):
    """How each file of a study must have been made, with each value of a key once."""

    datasets: dict[str, int]
    """The place of each data set in `values`, by label."""
    families: dict[str, ExpectedFamily]
    """By `dataset/model/objective`."""
    analyses: dict[str, ExpectedAnalysis]
    """Those that are not timed, by label."""
    imports: dict[str, Places]
    """By the checkpoint's path."""
    values: list[Any]

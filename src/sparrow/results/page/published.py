"""Published figures beside the study's own, and a published average."""

from __future__ import annotations

import pandas as pd

from sparrow.results.page.grid import Column, Form, Grid, grid, numbers, texts
from sparrow.results.page.study_data import METRICS, StudyData


def published(data: StudyData) -> list[Grid]:
    """The grids of published.csv and headline.csv, as far as the study has them."""
    return [
        *([_figures(data.table("published"))] if "published" in data.files else []),
        *([_headline(data.table("headline"))] if "headline" in data.files else []),
    ]


def _figures(table: pd.DataFrame) -> Grid:
    names = {"source": "source", "dataset": "data set", "model": "model", "objective": "objective", "method": "method"}
    columns = [Column(title, "text", texts(table[name]), chosen_by=True) for name, title in names.items()]
    columns.append(Column("ratio", "number", numbers(table["ratio"]), chosen_by=True))
    for metric in METRICS:
        for end, title in (("_published", "published"), ("", "measured"), ("_difference", "difference")):
            columns.append(Column(f"{metric} {title}", "number", numbers(table[f"{metric}{end}"].round(1))))
    return grid("published", [*columns, Column("remarks", "long", texts(table["remarks"]))])


def _headline(table: pd.DataFrame) -> Grid:
    numeric = ("ratio", "networks", "cells", "published", "measured", "difference", "lowest", "highest")
    columns = [
        Column(name, "number", numbers(table[name].round(2)))
        if name in numeric
        else Column(name, _form(name), texts(table[name]))
        for name in map(str, table)
    ]
    return grid("headline", columns)


def _form(name: str) -> Form:
    return "long" if name == "remarks" else "text"

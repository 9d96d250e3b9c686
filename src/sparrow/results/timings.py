"""The table of an analysis's timings, with the preserved era of each network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.errors import SparrowError
from sparrow.files import analysis_table, content
from sparrow.files.atomic import replacing
from sparrow.files.outcome_table import ORIGIN, TEXT, require_origin
from sparrow.files.paths import IDENTITY, Parent, is_in_family
from sparrow.files.specs import opened
from sparrow.results import analyses
from sparrow.results.specs.analyses import AnalysisTables

PRESERVED = [f"preserved_era{end}" for end in ("", "_low", "_high")]


@opened(dict[str, AnalysisTables], "configured")
def write_timings(
    summary: Path, tables: list[Path], output: Path, configured: dict[str, AnalysisTables], specs: dict[str, str]
) -> None:
    """All rows of `tables`, each with its checkpoint's preserved era and granularity from `summary`; sorted as that is.

    A network that failed has one row, without numbers. `configured` is what the study says of the analysis, by label. Raises
    SparrowError for a file that is no table of it, that was cut, or that is about other networks than the summary, or made
    under another configuration than `specs` has, by the path of the dense network's folder below the results.
    """
    every = pd.read_csv(summary, dtype={"ratio": str} | TEXT)
    found = [analyses.read(path, configured) for path in tables]
    for path, one in zip(tables, found, strict=True):
        if not one.failed:
            _require_current(path, one, every, specs)
    (rows,) = analyses.collect(found, configured).values()
    # Others were not timed, which is no failure.
    known = every.loc[every["stage"].map(is_in_family), [*IDENTITY, "granularity", "constant", *PRESERVED]]
    if rows.empty:  # It has no types.
        rows = pd.DataFrame(columns=list(dict.fromkeys([*IDENTITY, *rows.columns])))
    merged = known.merge(rows, on=IDENTITY, how="left", validate="one_to_many")
    # A count that is missing somewhere is a count elsewhere.
    counts = [str(name) for name in rows.columns if name not in IDENTITY and pd.api.types.is_integer_dtype(rows[name])]
    merged[counts] = merged[counts].astype("Int64")
    with replacing(output) as partial:
        merged.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _require_current(path: Path, one: analyses.Done, summary: pd.DataFrame, specs: dict[str, str]) -> None:
    names, rows = analysis_table.lines(path)
    family = summary[(summary[list(one.identity)] == pd.Series(one.identity)).all(axis=1) & summary["stage"].map(is_in_family)]
    expected = {
        "network": content.of_networks(family["network"]),
        "data": family["data"].iloc[0] if len(family) else None,
        "spec": specs.get(Parent(**one.identity).path, "none"),
    }
    try:
        require_origin(path, (tuple(row[names.index(name)] for name in ORIGIN) for row in rows), expected)
    except SparrowError as error:
        raise SparrowError(f"{error}; delete it and run again") from None

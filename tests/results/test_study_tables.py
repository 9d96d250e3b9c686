"""The tables of other analyses that one of scope `tables` is given."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files import analysis_table
from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import FAILED
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.results.study_tables import tables_of
from tests.conftest import ABOUT

NETWORKS = ("dense", "lwm-0.90/finetuned", "lwm-0.95/finetuned")
COLUMNS = {"counts": ("images",), "more": ("layer", "share")}


def written(root: Path, label: str) -> list[Path]:
    """The tables of an analysis of three networks, the last of which failed."""
    paths = [root / f"digits/cnn-small/benign/seed0/{name}/analyses/{label}.csv" for name in NETWORKS]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {"counts": [(10 * number,)], "more": [(1, 0.5), (2, 0.25 * number)]}
        analysis_table.write(path, COLUMNS, rows, ABOUT)
    write_csv(paths[-1], FAILED, [("it diverged", *ABOUT)])
    return paths


def test_each_analysis_has_its_tables_over_all_jobs(tmp_path: Path) -> None:
    told = AnalysisTables(kind="mine", scope="network", tables={name: list(columns) for name, columns in COLUMNS.items()})
    paths = [*written(tmp_path, "second"), *written(tmp_path, "first")]
    found = tables_of(paths, {"first": told, "second": told})
    assert [(one.label, one.kind) for one in found] == [("first", "mine"), ("second", "mine")]
    counts, more = found[0].tables["counts"], found[0].tables["more"]
    # Who they are about in front; nothing of the one that failed.
    assert list(counts.columns)[-4:] == ["ratio", "seed", "stage", "images"]
    assert counts[["method", "ratio", "images"]].to_numpy().tolist() == [["dense", 0.0, 0], ["lwm", 0.9, 10]]
    assert more[["ratio", "layer", "share"]].to_numpy().tolist() == [[0, 1, 0.5], [0, 2, 0], [0.9, 1, 0.5], [0.9, 2, 0.25]]
    pd.testing.assert_frame_equal(found[1].tables["more"], more)


def test_a_study_without_them_gives_none() -> None:
    assert tables_of([], {}) == ()

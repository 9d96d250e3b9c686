"""Tables for a paper: booktabs, a row for each method."""

from __future__ import annotations

import math

import pandas as pd

from sparrow.files.paths import DENSE
from sparrow.results.comparable import above_era
from sparrow.results.page import words
from sparrow.results.page.study_data import METRICS, StudyData

HEAD = "% \\usepackage{booktabs}\n"


def tables(data: StudyData) -> dict[str, str]:
    """LaTeX by file name: accuracies of all cells, and the ranking."""
    return {"summary.tex": HEAD + _summary(data), "ranking.tex": HEAD + _ranking(data)}


def _summary(data: StudyData) -> str:
    cells = data.cells[data.cells["stage"].isin([DENSE, data.spec.stage])]
    table = _identity(cells, "shown_method")
    for metric in METRICS:
        known = zip(*(cells[f"{metric}{end}"] for end in ("", "_low", "_high", "_failed")), strict=True)
        table[metric] = ["failed" if failed else _with_interval(*numbers) for *numbers, failed in known]
    table["method"] = [
        f"{name}$^\\times$" if one else name for name, one in zip(table["method"], cells["constant"], strict=True)
    ]
    above = [above_era(row) for row in cells.to_dict("records")]
    table["vra"] = [rf"{one}$^\S$" if said else one for one, said in zip(table["vra"], above, strict=True)]
    note = "% Percent of test images, 95 % intervals. x: answers with one class.\n"
    note += "".join(f"% S: vra {said}.\n" for said in dict.fromkeys(filter(None, above)))
    return note + _booktabs(table)


def _ranking(data: StudyData) -> str:
    rows = data.ranking
    table = _identity(rows, "method")
    table.insert(len(table.columns) - 1, "by", rows["metric"].to_numpy())
    table["rank"] = ["--" if math.isnan(rank) else f"{rank:.0f}" for rank in rows["rank"].astype(float)]
    table["accuracy"] = [_with_interval(*row) for row in rows[["mean", "low", "high"]].itertuples(index=False)]
    table["verdict"] = rows["verdict"].to_numpy()
    return _booktabs(table)


def _identity(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Columns that name a row; data set and model only where there are several."""
    names = [name for name in ("dataset", "model") if rows[name].nunique() > 1]
    table = rows[[*names, "objective"]].map(_plain)
    table["ratio"] = [f"{ratio:g}" for ratio in rows["ratio"]]
    table["method"] = rows[method].map(_plain)
    return table.reset_index(drop=True)


def _plain(text: object) -> str:
    """A label with what TeX would read as a command made plain."""
    return str(text).replace("_", r"\_").replace("%", r"\%").replace("&", r"\&").replace("#", r"\#")


def _with_interval(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return "--"
    if not words.has_width(low, high):
        return words.percent(mean)
    return f"{words.percent(mean)} [{words.percent(max(low, 0))}, {words.percent(min(high, 1))}]"


def _booktabs(table: pd.DataFrame) -> str:
    numeric = {"ratio", "rank", *METRICS, "accuracy"}
    form = "".join("r" if name in numeric else "l" for name in table)
    lines = [" & ".join(map(str, row)) + r" \\" for row in table.itertuples(index=False, name=None)]
    head = " & ".join("data set" if name == "dataset" else str(name) for name in table)
    return "\n".join(
        [rf"\begin{{tabular}}{{{form}}}", r"\toprule", head + r" \\", r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", ""]
    )

"""The answer: at each ratio the best method, how far ahead it is, what random pruning keeps, and a sentence on all of it.

It says what ranking.csv says, and computes nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE, LABEL_COLUMNS
from sparrow.results.comparable import DOUBTED
from sparrow.results.page import words
from sparrow.results.page.failures import failures, sentence
from sparrow.results.page.sentences import NAMED, failed_in, level_in, mark_of, says
from sparrow.results.page.study_data import COMPARED, StudyData
from sparrow.results.ranking import CONSTANT, FAILED
from sparrow.results.ties import LEVEL_WITH_BEST

NAMES = {"era": "Under attack (era)", "vra": "Proven (vra)"}
WHAT = {"weight": "", "filter": "Whole filters"}

Value = dict[str, str]
"""A cell of a card: `value`, and in small type `interval` and `more`; any may be empty."""


def answers(data: StudyData) -> list[dict[str, Any]]:
    """For each family of networks its labels, its threat, its dense network, and of each metric its parts.

    A part is about one granularity: its `title`, a sentence `says`, `rows`, one for each ratio, and whether any of them has a
    `control`. A family whose dense networks all failed has a `cause` in place of metrics.
    """
    ranking = data.ranking.assign(doubted=data.doubted(data.ranking))
    lost = {one.parent.labels: failure for failure in failures(data) if failure.is_dense for one in failure.origins}
    found = []
    for family in data.families:
        threat = words.threat(data.spec.threats[family[2]])
        if family in lost and _of(data.cells[data.cells["stage"] == DENSE], family)["benign"].isna().all():
            cause = sentence(lost[family], data)
            found.append({"family": family, "threat": threat, "dense": [], "metrics": {}, "cause": cause})
            continue
        own = _of(ranking, family)
        dense = _of(data.cells[data.cells["stage"] == DENSE], family)
        metrics = {
            NAMES[metric]: {
                "parts": _parts(own[own["metric"] == metric], metric, data.controls, dense, _zeros(data, family)),
                "rises": _rises(metric, family, data),
            }
            for metric in data.metrics
        }
        before = _dense(dense, data.metrics)
        found.append({"family": family, "threat": threat, "dense": before, "metrics": metrics, "cause": ""})
    return found


def _of(table: pd.DataFrame, family: tuple[str, str, str]) -> pd.DataFrame:
    for column, label in zip(LABEL_COLUMNS, family, strict=True):
        table = table[table[column] == label]
    return table


def _value(row: pd.Series, name: str, low: str, high: str, more: str = "", doubted: bool = False) -> Value:
    value, _, interval = words.interval(row[name], row[low], row[high]).partition(" [")
    mark = f"\u00a0{DOUBTED}" if doubted else ""
    return {"value": f"{value}{mark}", "interval": f"[{interval}" if interval else "", "more": more}


def _text(value: str, more: str = "") -> Value:
    return {"value": value, "interval": "", "more": more}


def _dense(dense: pd.DataFrame, metrics: list[str]) -> list[Any]:
    """Accuracies of the dense network of a family."""
    known = [] if dense.empty else [name for name in ("benign", *metrics) if pd.notna(dense.iloc[0][name])]
    if not known:
        return ["There is no result of the dense network."]
    row = dense.iloc[0]
    parts = [
        [f"{name} ", _value(row, name, f"{name}_low", f"{name}_high", doubted=name == "era" and row["doubted"])]
        for name in known
    ]
    between: list[Any] = [piece for place, part in enumerate(parts) for piece in ([", "] if place else []) + part]
    return ["Before pruning: ", *between, "."]


def _zeros(data: StudyData, family: tuple[str, str, str]) -> dict[tuple[str, float], float]:
    """The share of prunable weights that networks have lost, mean over methods and seeds, by granularity and ratio."""
    table = _of(data.summary[data.summary["stage"] == data.spec.stage], family)
    if "sparsity_prunable" not in table:
        return {}
    means = table.groupby(["granularity", "ratio"], as_index=False)["sparsity_prunable"].mean().dropna()
    return {(str(one[0]), float(one[1])): float(one[2]) for one in means.itertuples(index=False, name=None)}


def _parts(
    rows: pd.DataFrame, metric: str, controls: set[str], dense: pd.DataFrame, zeros: dict[tuple[str, float], float]
) -> list[dict[str, Any]]:
    """A part on the methods that remove weights, and one on those that remove anything else.

    `zeros` is the share of the weights that is gone, by granularity and ratio.
    """
    order = sorted(set(rows["granularity"].astype(str)), key=lambda name: (name != "weight", name))
    found = []
    for granularity in order:
        ratios = list(rows[rows["granularity"] == granularity].groupby("ratio", sort=True))
        found.append(
            {
                "title": WHAT.get(granularity, granularity) + _weights_gone(granularity, [ratio for ratio, _ in ratios], zeros),
                "says": says(ratios, controls),
                "rows": [_row(ratio, at, metric, controls, dense) for ratio, at in ratios],
                "control": any(at["method"].isin(controls).any() for _, at in ratios),
            }
        )
    return found


def _weights_gone(granularity: str, ratios: list[Any], zeros: dict[tuple[str, float], float]) -> str:
    """What share of the weights goes with a ratio of anything else."""
    known = [(ratio, zeros[granularity, ratio]) for ratio in ratios if (granularity, ratio) in zeros]
    if granularity == "weight" or not known:
        return ""
    told = words.listed([f"{ratio:g} is about {words.percent(share)}\u00a0%" for ratio, share in known])
    return f" (a ratio of {told} of the weights)"


def _row(ratio: Any, at: pd.DataFrame, metric: str, controls: set[str], dense: pd.DataFrame) -> dict[str, Any]:
    """What a card says of a ratio: best, ahead, tied, control, dense."""
    first, second = at[at["rank"] == 1], at[at["rank"] == 2]
    level = at[at["verdict"] == LEVEL_WITH_BEST]
    control = at[at["method"].isin(controls)]
    return {
        "ratio": f"{ratio:g}",
        "best": _value(first.iloc[0], "mean", "low", "high", words.listed([*first["method"]]), bool(first["doubted"].any()))
        if len(first)
        else _text("none", failed_in(at)),
        "ahead": _text("level", level_in(level))
        if len(level)
        else _gap(second.iloc[0], words.listed([f"{row['method']}{mark_of(row)}" for _, row in second.iterrows()]))
        if len(second)
        else _text("–"),
        "tied": _tied(at) if len(first) else _text("–"),
        "control": [_control(row, len(control) > 1) for _, row in control.iterrows()] or [_text("–")],
        "dense": _before(dense, metric),
    }


def _gap(row: pd.Series, more: str) -> Value:
    low, high = words.percent(row["behind_low"]), words.percent(row["behind_high"])
    interval = f"[{low}, {high}]" if pd.notna(row["behind_low"]) else ""
    return {"value": words.percent(row["behind"]), "interval": interval, "more": more}


def _before(dense: pd.DataFrame, metric: str) -> Value:
    if dense.empty:
        return _text("–")
    if dense.iloc[0][f"{metric}_failed"]:
        return _text("failed")
    return _text(words.interval(dense.iloc[0][metric], float("nan"), float("nan")))


def _control(row: pd.Series, named: bool) -> Value:
    """A control's accuracy, and what is to be said of it, behind its name where there are several."""
    verdict, name = row["verdict"], f"{row['method']}: " if named else ""
    if verdict == FAILED:
        return _text("failed", name[:-2])
    behind = f"{words.percent(row['behind'])} behind"
    if pd.notna(row["behind_low"]):
        behind += f", {words.percent(row['behind_low'])} to {words.percent(row['behind_high'])}"
    said = {
        CONSTANT: "answers with one class",
        "best": "the best",
        LEVEL_WITH_BEST: "level with the first",
        "within the noise": f"within the noise: {behind}",
        "likely worse": f"likely worse: {behind}",
        "worse": f"worse: {behind}",
    }
    return _value(row, "mean", "low", "high", name + said.get(verdict, verdict), row["doubted"])


def _tied(at: pd.DataFrame) -> Value:
    """How many of the others are within the noise of the best, and which; and how many are no more than likely worse."""
    others = int((at["verdict"].isin(COMPARED) & (at["rank"] != 1)).sum())
    if not others:
        alone = "no other was compared" if (at["rank"] == 1).sum() == 1 else ""
        return _text("–", "; ".join(filter(None, [alone, failed_in(at)])))
    tied = list(at.loc[at["verdict"] == "within the noise", "method"])
    likely = int((at["verdict"] == "likely worse").sum())
    names = ", ".join(tied[:NAMED]) + (f" and {len(tied) - NAMED} more" if len(tied) > NAMED else "")
    more = "; ".join(filter(None, [names, f"{likely} likely worse" if likely else "", failed_in(at)]))
    return _text(f"{len(tied) or 'none'} of {others}", more)


def _rises(metric: str, family: tuple[str, str, str], data: StudyData) -> str:
    """Where more is proven of pruned networks than of the dense one, on the same images; empty where it is nowhere."""
    rows, share = _of(data.summary[data.summary["stage"] == data.spec.stage], family), "preserved_vra_low"
    if metric != "vra" or share not in rows or data.spec.stage == DENSE:
        return ""
    rows = rows[rows["vra"].notna() & ~rows["constant"].eq(True)]
    # Of a dense network without any there is no share.
    before = _of(data.summary[data.summary["stage"] == DENSE], family)["vra_high"].max()
    above = (rows[share] > 1) | (rows[share].isna() & (rows["vra_low"] > before))
    more = above.groupby([rows["ratio"], rows["method"]]).all()
    if not more.any():
        return ""
    counts = more.groupby("ratio").agg(["sum", "size"])
    at = [f"{ratio:g} ({some} of {words.count(every, 'method')})" for ratio, some, every in counts.itertuples() if some]
    analysed = [one.label for one in data.spec.entries["analyses"] if one.kind == "stability"]
    counted = f"; {analysed[0]}.csv counts the ReLUs whose sign no perturbation changes" if analysed else ""
    return (
        f"More is proven than of the dense network at {words.listed(at)}: the share that is kept of its vra, with its "
        f"95\u00a0% interval, is above 100\u00a0%. Bounds on a network with fewer active units are often tighter{counted}."
    )

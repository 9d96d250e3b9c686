"""The answer: at each ratio the best method, how far ahead it is, what random pruning keeps, and a sentence on all of it.

It says what ranking.csv says, and computes nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE, LABEL_COLUMNS
from sparrow.results.page import words
from sparrow.results.page.study_data import COMPARED, StudyData
from sparrow.results.ranking import CONSTANT, FAILED
from sparrow.results.ties import LEVEL_WITH_BEST

NAMES = {"era": "Under attack (era)", "vra": "Proven (vra)"}
MOST = {"era": "keeps most under attack", "vra": "keeps most that is proven"}
WHAT = {"weight": "", "filter": "Whole filters"}
CONTROL = "random"
"""The kind of method that everything is held against."""
NAMED = 3
"""At most so many methods are named in a cell; of more, their number is told."""

Value = dict[str, str]
"""A cell of a card: `value`, and in small type `interval` and `more`; any may be empty."""


def answers(data: StudyData) -> list[dict[str, Any]]:
    """For each family of networks its labels, its threat, its dense network, and of each metric its parts.

    A part is about one granularity: its `title`, a sentence `says`, `rows`, one for each ratio, and whether any of them has a
    `control`.
    """
    controls = {one.label for one in data.spec.entries["methods"] if one.kind == CONTROL}
    found = []
    for family in data.families:
        own = _of(data.ranking, family)
        dense = _of(data.cells[data.cells["stage"] == DENSE], family)
        metrics = {
            NAMES[metric]: {
                "parts": _parts(own[own["metric"] == metric], metric, controls, dense),
                "rises": _rises(own[own["metric"] == metric], metric, dense, data),
            }
            for metric in data.metrics
        }
        threat = words.threat(data.spec.threats[family[2]])
        found.append({"family": family, "threat": threat, "dense": _dense(dense, data.metrics), "metrics": metrics})
    return found


def _of(table: pd.DataFrame, family: tuple[str, str, str]) -> pd.DataFrame:
    for column, label in zip(LABEL_COLUMNS, family, strict=True):
        table = table[table[column] == label]
    return table


def _value(row: pd.Series, name: str, low: str, high: str, more: str = "") -> Value:
    value, _, interval = words.interval(row[name], row[low], row[high]).partition(" [")
    return {"value": value, "interval": f"[{interval}" if interval else "", "more": more}


def _text(value: str, more: str = "") -> Value:
    return {"value": value, "interval": "", "more": more}


def _dense(dense: pd.DataFrame, metrics: list[str]) -> list[Any]:
    """Accuracies of the dense network of a family."""
    known = [] if dense.empty else [name for name in ("benign", *metrics) if pd.notna(dense.iloc[0][name])]
    if not known:
        return ["There is no result of the dense network."]
    parts = [[f"{name} ", _value(dense.iloc[0], name, f"{name}_low", f"{name}_high")] for name in known]
    between: list[Any] = [piece for place, part in enumerate(parts) for piece in ([", "] if place else []) + part]
    return ["Before pruning: ", *between, "."]


def _parts(rows: pd.DataFrame, metric: str, controls: set[str], dense: pd.DataFrame) -> list[dict[str, Any]]:
    """A part on the methods that remove weights, and one on those that remove anything else."""
    order = sorted(set(rows["granularity"].astype(str)), key=lambda name: (name != "weight", name))
    found = []
    for granularity in order:
        ratios = list(rows[rows["granularity"] == granularity].groupby("ratio", sort=True))
        found.append(
            {
                "title": WHAT.get(granularity, granularity),
                "says": _says(ratios, metric, controls),
                "rows": [_row(ratio, at, metric, controls, dense) for ratio, at in ratios],
                "control": any(at["method"].isin(controls).any() for _, at in ratios),
            }
        )
    return found


def _row(ratio: Any, at: pd.DataFrame, metric: str, controls: set[str], dense: pd.DataFrame) -> dict[str, Any]:
    """What a card says of a ratio: best, ahead, tied, control, dense."""
    first, second = at[at["rank"] == 1], at[at["rank"] == 2]
    level = at[at["verdict"] == LEVEL_WITH_BEST]
    control = at[at["method"].isin(controls)]
    return {
        "ratio": f"{ratio:g}",
        "best": _value(first.iloc[0], "mean", "low", "high", words.listed([*first["method"]]))
        if len(first)
        else _text("none", _failed(at)),
        "ahead": _text("level", _level(level))
        if len(level)
        else _gap(second.iloc[0], words.listed([*second["method"]]))
        if len(second)
        else _text("–"),
        "tied": _tied(at) if len(first) else _text("–"),
        "control": [_control(row, len(control) > 1) for _, row in control.iterrows()] or [_text("–")],
        "dense": _before(dense, metric),
    }


def _level(level: pd.DataFrame) -> str:
    """In what methods of the same accuracy are level: in every outcome, or on average alone."""
    first, others = level.iloc[0], level.iloc[1:]
    if others["behind_low"].notna().any():
        return "on average, not on every image"
    return f"on {_pairs(first)}"


def _pairs(row: pd.Series) -> str:
    """The pairs of outcomes behind a comparison, in words: `each of 50 images, under each of 3 seeds`."""
    images, seeds = row.get("images", float("nan")), row["seeds"]
    of = [f"each of {words.count(int(images), 'image')}"] if pd.notna(images) else []
    of += [f"{'under ' if of else ''}each of {words.count(int(seeds), 'seed')}"] if seeds > 1 or not of else []
    return ", ".join(of)


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
        "within the noise": f"not told from the first: {behind}",
        "likely worse": f"likely worse: {behind}",
        "worse": f"worse: {behind}",
    }
    return _value(row, "mean", "low", "high", name + said.get(verdict, verdict))


def _tied(at: pd.DataFrame) -> Value:
    """How many of the others are within the noise of the best, and which; and how many are no more than likely worse."""
    others = int((at["verdict"].isin(COMPARED) & (at["rank"] != 1)).sum())
    if not others:
        alone = "no other was compared" if (at["rank"] == 1).sum() == 1 else ""
        return _text("–", "; ".join(filter(None, [alone, _failed(at)])))
    tied = list(at.loc[at["verdict"] == "within the noise", "method"])
    likely = int((at["verdict"] == "likely worse").sum())
    names = ", ".join(tied[:NAMED]) + (f" and {len(tied) - NAMED} more" if len(tied) > NAMED else "")
    more = "; ".join(filter(None, [names, f"{likely} likely worse" if likely else "", _failed(at)]))
    return _text(f"{len(tied) or 'none'} of {others}", more)


def _failed(at: pd.DataFrame) -> str:
    """Which methods failed, in words; empty if none did."""
    failed = list(at.loc[at["verdict"] == FAILED, "method"])
    return f"{words.listed(failed) if len(failed) <= NAMED else words.count(len(failed), 'method')} failed" if failed else ""


def _says(ratios: list[tuple[Any, pd.DataFrame]], metric: str, controls: set[str]) -> str:
    """One sentence on all ratios, those of one kind together."""
    told: dict[str, list[str]] = {}
    for ratio, at in ratios:
        told.setdefault(_kind(at, metric, controls), []).append(f"{ratio:g}")
    said = "; ".join(kind.format(words.listed(own)) for kind, own in told.items())
    # A method's name stays as it is.
    return f"{said.replace('at', 'At', 1) if said.startswith('at ') else said}."


def _kind(at: pd.DataFrame, metric: str, controls: set[str]) -> str:
    """What is told at a ratio, with a place for the ratio."""
    first = at[at["rank"] == 1]
    if first.empty:
        # A name may have braces.
        lost = _failed(at).replace("{", "{{").replace("}", "}}")
        return f"at {{}} {lost}, and no method has a rank" if lost else "at {} no method has a rank"
    if len(first) > 1:
        return _kind_of_tie(at, controls)
    best, others = first.iloc[0], int(at["verdict"].isin(COMPARED).sum()) - 1
    method = str(best["method"]).replace("{", "{{").replace("}", "}}")
    tied = at[at["verdict"] == "within the noise"]
    if not others:
        return f"at {{}} {method} alone has a rank"
    if method in controls:
        return f"at {{}} no method is told to be better than random pruning ({words.percent(best['mean'])}\u00a0%)"
    if set(tied["method"]) & controls:
        return f"at {{}} {method} is first, but not told from random pruning"
    if len(tied) == others:
        return "at {} nothing is told apart"
    likely = int((at["verdict"] == "likely worse").sum())
    if len(tied):
        also = f", and {likely} only likely worse" if likely else ""
        return f"at {{}} {method} is first, but {len(tied)} of {others} others are not told from it{also}"
    return f"{method} {MOST[metric]} at {{}}" + (f" ({likely} of {others} others are only likely worse)" if likely else "")


def _kind_of_tie(at: pd.DataFrame, controls: set[str]) -> str:
    """What is told where several methods share the first rank: all of them by name, and none as the best."""
    level = at[at["rank"] == 1]
    names = words.listed([str(name).replace("{", "{{").replace("}", "}}") for name in level["method"]])
    others = int(at["verdict"].isin(COMPARED).sum()) - len(level)
    tied, likely = (int((at["verdict"] == verdict).sum()) for verdict in ("within the noise", "likely worse"))
    said = f"at {{}} {names} are level ({words.percent(level.iloc[0]['mean'])}\u00a0%, {_level(level)})"
    if set(level["method"]) & controls:
        return f"{said}: no method is told to be better than random pruning"
    if set(at.loc[at["verdict"] == "within the noise", "method"]) & controls:
        return f"{said}, and not told from random pruning"
    if tied:
        also = f", and {likely} only likely worse" if likely else ""
        return f"{said}, and {tied} of {others} others are not told from them{also}"
    if not others:
        return said
    return f"{said}, ahead of all others" + (f", of which {likely} are only likely worse" if likely else "")


def _rises(rows: pd.DataFrame, metric: str, dense: pd.DataFrame, data: StudyData) -> str:
    """Why more can be proven after pruning than before; empty where no more is."""
    if metric != "vra" or dense.empty or not (rows.loc[rows["rank"] == 1, "low"] > dense.iloc[0]["vra_high"]).any():
        return ""
    analysed = [one.label for one in data.spec.entries["analyses"] if one.kind == "stability"]
    counted = f"; {analysed[0]}.csv counts the ReLUs whose sign no perturbation changes" if analysed else ""
    return (
        f"More is proven after pruning than before: pruned networks are simpler, so that bounds on them are tighter{counted}."
    )

"""The chart of a study with one ratio: a line for each method, the best at the top, in Vega-Lite's JSON.

Against a single ratio all marks would stand above one another.
"""

from __future__ import annotations

from typing import Any

from sparrow.results.looks import label_of

STEP = 17
"""Pixels of a line."""
CONSTANT, FAILED, NOTHING = -1000.0, -2000.0, -3000.0
"""Where methods stand that answer with one class, that failed, and of which there is no value."""


def dot_panels(
    rows: list[dict[str, Any]], metrics: list[str], objectives: list[str], control: set[str]
) -> list[dict[str, Any]]:
    """Of each of the `objectives` that a chart shows below one another a row of panels, one for each of the `metrics`.

    Sets the fields `control` and `line` of `rows`, a method's name, behind which those of `control` are called so, and `place`,
    by which lines are sorted: its value by the first metric.
    """
    by_line: dict[tuple[str, str, str], float] = {}
    for row in rows:
        row["control"] = label_of(row["method"]) in control
        row["line"] = row["method"] + (" (control)" if row["control"] else "")
        if row["metric"] == metrics[0] and row["ratio"] > 0:
            by_line[row["network"], row["objective"], row["line"]] = _place(row)
    for row in rows:
        row["place"] = by_line.get((row["network"], row["objective"], row["line"]), NOTHING)
    shown = [one for one in objectives if any(row["objective"] == one and row["ratio"] > 0 for row in rows)]
    return [_panels_of(objective, metrics, len(shown) > 1) for objective in shown]


def _place(row: dict[str, Any]) -> float:
    if row["failed"] or row["value"] is None:
        return FAILED if row["failed"] else NOTHING
    return float(row["value"]) + (CONSTANT if row["constant"] else 0.0)


def sorted_by(metrics: list[str]) -> str:
    """What the caption says of the order."""
    return f"Methods from best to worst by {metrics[0]}, at the bottom those that answer with one class, and that failed."


def _panels_of(objective: str, metrics: list[str], several: bool) -> dict[str, Any]:
    above = f"{objective}: " if several else ""
    return {
        "transform": [{"filter": {"field": "objective", "equal": objective}}],
        "facet": {
            "column": {
                "field": "metric",
                "sort": metrics,
                "header": {"labelExpr": f"{_quoted(above)} + datum.value"},
            }
        },
    }


def dot_layers(look: dict[str, Any], tooltip: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The layers of a panel: what `look` says of colour and shape, and what the pointer is told."""
    pruned = {"transform": [{"filter": "datum.ratio > 0"}]}
    x = {"field": "value", "type": "quantitative", "title": "% of test images", "scale": {"domain": [0, 100]}}
    y = {
        "field": "line",
        "type": "nominal",
        "sort": {"field": "place", "op": "max", "order": "descending"},
        "title": None,
        "axis": {"grid": True, "labelLimit": 260, "ticks": False, "domain": False},
    }
    colour = {**look["color"], "legend": None}
    return [
        {
            "transform": [{"filter": "datum.ratio == 0 && datum.value != null"}],
            "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#666"},
            "encoding": {"x": x, "tooltip": tooltip},
        },
        {
            "transform": [{"filter": "datum.ratio > 0 && datum.value != null && datum.control"}],
            "mark": {"type": "rule", "strokeDash": [1, 3], "color": "#666"},
            "encoding": {"x": x, "tooltip": tooltip},
        },
        {
            **pruned,
            "mark": {"type": "rule", "strokeWidth": 1.4},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour},
        },
        {
            **pruned,
            "mark": {"type": "point", "filled": True, "size": 64, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "shape": {**look["shape"], "legend": None}, "tooltip": tooltip},
        },
        {
            "transform": [{"filter": "datum.constant && datum.ratio > 0"}],
            "mark": {"type": "text", "text": "✕", "fontSize": 15, "fontWeight": "bold", "color": "black"},
            "encoding": {"x": x, "y": y, "tooltip": tooltip},
        },
        {
            "transform": [{"filter": "datum.failed && datum.ratio > 0"}],
            "mark": {"type": "text", "text": "failed", "align": "left", "fontSize": 11, "fontWeight": "bold", "color": "#333"},
            "encoding": {"x": {"datum": 1, "type": "quantitative"}, "y": y, "tooltip": tooltip},
        },
    ]


def title(ratio: float) -> dict[str, Any]:
    """The ratio that all of it is about."""
    return {"text": f"pruning ratio {ratio:g}", "orient": "top", "anchor": "start", "fontSize": 12, "fontWeight": "normal"}


def _quoted(text: str) -> str:
    """A text as a string of a Vega expression."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

"""The charts that answer a pointer: era and vra against the ratio, and against what a network still costs. Vega-Lite's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sparrow.files.paths import CELL_COLUMNS, DENSE, variant_of
from sparrow.results.comparable import DOUBTED, above_era
from sparrow.results.looks import COLOURS, OTHERS, label_of, standing_out
from sparrow.results.page import dots, words
from sparrow.results.page.study_data import StudyData

X = "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z"
STAR = "M0,-1L.24,-.32L.95,-.31L.38,.12L.59,.81L0,.4L-.59,.81L-.38,.12L-.95,-.31L-.24,-.32Z"
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", X, STAR]
"""In the order of the markers of figures, so that a method looks the same in both."""
GREY = "#b9bec6"
SIDE_BY_SIDE = 3
"""So many objectives have panels beside one another; of more, a menu chooses one."""
WIDTH = 1060
"""Pixels of all panels of a row together."""
PLACE = ("network", "objective", "metric", "ratio")
CONFIG = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "gridColor": "#eceef1",
        "domainColor": "#9aa1ab",
        "tickColor": "#9aa1ab",
        "labelColor": "#333",
        "titleColor": "#333",
    },
    "header": {"labelFontSize": 13, "labelFontWeight": "bold", "titleFontSize": 0},
    "legend": {
        "orient": "top",
        "titleFontWeight": "normal",
        "symbolSize": 90,
        "symbolOpacity": 1,
        "labelLimit": 260,
        "columns": 8,
    },
}


def ratio_chart(data: StudyData) -> dict[str, Any] | None:
    """Era and vra of the pruned networks against the ratio, dashed the dense network; None where nothing was pruned.

    A line breaks where a network failed.
    """
    rows = _rows(data)
    if not any(row["ratio"] > 0 and row["value"] is not None for row in rows):
        return None
    ratios = sorted({row["ratio"] for row in rows if row["ratio"] > 0})
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    if len(ratios) == 1:
        return _dot_chart(data, rows, objectives, ratios[0])
    panels, width = _panels(objectives, data.metrics)
    params, filters = _menus(rows, ("network", "objective") if len(objectives) > SIDE_BY_SIDE else ("network",))
    pruned = {"transform": [{"filter": "datum.ratio > 0"}]}
    x = {
        "field": "compression",
        "type": "quantitative",
        "title": "pruning ratio (even in compression)",
        "scale": {"zero": False, "nice": False, "padding": 14},
        "axis": {"values": [_compression(ratio) for ratio in ratios], "labelExpr": _ratio_labels(ratios), "grid": False},
    }
    y = {"field": "value", "type": "quantitative", "title": "% of test images", "scale": {"domain": [0, 100]}}
    look = _look(data, rows)
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": "datum.ratio == 0 && datum.value != null"}],
            "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#666"},
            "encoding": {"y": y, "tooltip": _tooltip()},
        },
        {
            **pruned,
            "mark": {"type": "rule", "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": look["color"],
                "opacity": look["faint"],
            },
        },
        {
            **pruned,
            "mark": {"type": "line", "invalid": "break-paths-show-domains"},
            "encoding": {
                "x": x,
                "y": y,
                "detail": {"field": "method"},
                "color": look["color"],
                "opacity": look["opacity"],
                "strokeWidth": {"condition": {"param": "hover", "empty": False, "value": 3.2}, "value": 1.6},
            },
        },
        {
            **pruned,
            "mark": {"type": "point", "filled": True, "size": 64},
            "encoding": {
                "x": x,
                "y": y,
                "color": look["color"],
                "shape": look["shape"],
                "opacity": look["opacity"],
                "tooltip": _tooltip(),
            },
            "params": [
                {
                    "name": "hover",
                    "select": {"type": "point", "fields": ["method"], "on": "pointerover", "clear": "pointerout"},
                },
                {"name": "chosen", "select": {"type": "point", "fields": ["look"]}, "bind": "legend"},
            ],
        },
        {
            "transform": [{"filter": "datum.constant"}],
            "mark": {"type": "text", "text": "✕", "fontSize": 15, "fontWeight": "bold", "color": "black"},
            "encoding": {"x": x, "y": y, "tooltip": _tooltip()},
        },
        {
            "transform": [{"filter": "datum.failed && datum.ratio > 0"}],
            "mark": {"type": "text", "angle": 270, "align": "left", "fontSize": 11, "fontWeight": "bold", "color": "#333"},
            "encoding": {"x": x, "y": {**y, "field": "failure_at"}, "text": {"field": "lost"}, "tooltip": _tooltip()},
        },
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": rows},
        "params": params,
        "transform": filters,
        "facet": panels,
        "spec": {"width": width, "height": 210, "layer": layers},
        "resolve": {"scale": {"x": "shared", "y": "shared"}},
        "config": CONFIG,
    }


def _dot_chart(data: StudyData, rows: list[dict[str, Any]], objectives: list[str], ratio: float) -> dict[str, Any]:
    """The chart of one ratio: methods as lines, objectives below one another, or of many the one that a menu chooses."""
    many = len(objectives) > SIDE_BY_SIDE
    params, filters = _menus(rows, ("network", "objective") if many else ("network",))
    panels = dots.dot_panels(rows, data.metrics, objectives, data.controls)
    spec = {
        "width": (WIDTH - 160) // max(len(data.metrics), 1),
        "height": {"step": dots.STEP},
        "layer": dots.dot_layers(_look(data, rows), _tooltip()),
    }
    concat = [one | {"spec": spec} for one in panels]
    if many:
        # One row of panels, of whatever the menu has chosen.
        concat = [{"facet": {"column": {"field": "metric", "sort": data.metrics}}, "spec": spec}]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": dots.title(ratio),
        "data": {"values": rows},
        "params": params,
        "transform": filters,
        "vconcat": concat,
        "resolve": {"scale": {"color": "shared", "shape": "shared", "y": "independent"}},
        "config": CONFIG,
    }


def caption(data: StudyData, chart: dict[str, Any] | None) -> str:
    """What `ratio_chart` shows, in words."""
    if chart and "vconcat" in chart:
        dotted = " Dotted: random pruning, the control." if data.controls else ""
        return f"{dots.sorted_by(data.metrics)} Dashed: the dense network.{dotted}"
    return "Dashed: the dense network. Click a name in the legend to see it alone."


def _panels(objectives: list[str], metrics: list[str]) -> tuple[dict[str, Any], int]:
    """How panels are laid out, and the width of one: metrics above one another; side by side, where one objective is shown."""
    metric = {"field": "metric", "sort": metrics}
    if 1 < len(objectives) <= SIDE_BY_SIDE:
        columns = {"field": "objective", "sort": objectives}
        return {"row": metric | {"header": {"labelAngle": 0, "labelAlign": "left"}}, "column": columns}, WIDTH // len(
            objectives
        )
    return {"column": metric}, WIDTH // max(len(metrics), 1)


def _rows(data: StudyData) -> list[dict[str, Any]]:
    """A row for each cell and metric that has a value, or has none because a network failed."""
    found = []
    cells = data.cells
    for row in cells[cells["stage"].isin([DENSE, data.spec.stage])].to_dict("records"):
        for metric in data.metrics:
            if row[f"{metric}_failed"] or not math.isnan(row[metric]):
                found.append(_point(row, metric))
    for lost in (one for one in found if one["failed"]):
        beside = [one["value"] for one in found if all(one[name] == lost[name] for name in PLACE) and one["value"] is not None]
        # Where the lowest marks do not cover it.
        lost["failure_at"] = 80 if min(beside, default=100) < 22 else 1
        lost["lost"] = _together(found, lost)
    return found


def _together(points: list[dict[str, Any]], lost: dict[str, Any]) -> str:
    """What is written where a point is lost: of several at one place the first says it for all."""
    there = [one for one in points if all(one[name] == lost[name] for name in PLACE)]
    failed = [one["method"] for one in there if one["failed"]]
    if failed[0] != lost["method"]:
        return ""
    names = "all" if len(failed) == len(there) > 1 else words.listed(failed) if len(failed) < 3 else f"{len(failed)} methods"
    return f"{names} failed"


def failures(data: StudyData) -> list[str]:
    """The points that the first chart lacks, in words: `hydra at 0.9 (adversarial: era, vra)`, `all of crown-ibp`."""
    lost: dict[tuple[str, str, float, str], list[str]] = {}
    rows = _rows(data)
    for row in rows:
        if row["failed"]:
            lost.setdefault((row["network"], row["method"], row["ratio"], row["objective"]), []).append(row["metric"])
    several = len({row["network"] for row in rows}) > 1
    whole = {(row["network"], row["objective"]) for row in rows} - {
        (row["network"], row["objective"]) for row in rows if not row["failed"]
    }
    told = [f"all of {f'{network}, ' if several else ''}{objective}" for network, objective in sorted(whole)]
    return told + [
        f"{method}{f' at {ratio:g}' if ratio else ''} ({f'{network}, ' if several else ''}{objective}: {', '.join(metrics)})"
        for (network, method, ratio, objective), metrics in lost.items()
        if (network, objective) not in whole
    ]


def _point(row: Mapping[Any, Any], metric: str) -> dict[str, Any]:
    mean, low, high, failed = (row[f"{metric}{end}"] for end in ("", "_low", "_high", "_failed"))
    notes = ["answers with one class"] if row["constant"] else []
    notes += [f"{DOUBTED} may be lower than attacks found"] if metric == "era" and row["doubted"] else []
    notes += [f"vra is {above}"] if metric == "vra" and (above := above_era(row)) else []
    notes += [f"{words.count(failed, 'network')} of {row['seeds']} failed"] if failed else []
    return {
        "network": f"{row['dataset']}, {row['model']}",
        "objective": row["objective"],
        "method": row["shown_method"],
        "ratio": row["ratio"],
        "compression": _compression(row["ratio"]),
        "metric": metric,
        "value": round(100 * mean, 3) if not math.isnan(mean) else None,
        "low": round(100 * max(low, 0.0), 3) if not math.isnan(low) else None,
        "high": round(100 * min(high, 1.0), 3) if not math.isnan(high) else None,
        "constant": row["constant"],
        "failed": failed > 0,
        "shown": "failed" if failed else words.interval(mean, low, high),
        "benign": words.interval(row["benign"], row["benign_low"], row["benign_high"]),
        "seeds": row["seeds"],
        "note": "; ".join(notes),
    }


def _compression(ratio: float) -> float:
    return round(-math.log10(1 - ratio), 6) if ratio < 1 else 0.0


def _ratio_labels(ratios: list[float]) -> str:
    """A Vega expression that names the ratio at a place of the axis."""
    parts = [f"abs(datum.value - {_compression(ratio)}) < 1e-4 ? '{ratio:g}'" for ratio in ratios]
    return " : ".join([*parts, "''"])


def _tooltip() -> list[dict[str, str]]:
    fields = {"network": "network", "objective": "objective", "method": "method", "ratio": "ratio", "metric": "metric"}
    fields |= {"shown": "value [95 %]", "benign": "benign", "seeds": "seeds", "note": "note"}
    return [{"field": field, "title": title, "type": "nominal"} for field, title in fields.items()]


def _menus(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Menus above a chart for the fields that have several values, and the filters behind them."""
    params, filters = [], []
    for field in fields:
        values = list(dict.fromkeys(row[field] for row in rows))
        if len(values) > 1:
            params.append(
                {
                    "name": f"menu_{field}",
                    "value": values[0],
                    "bind": {"input": "select", "options": values, "name": f"{field} "},
                }
            )
            filters.append({"filter": f"datum.{field} == menu_{field}"})
    return params, filters


def _look(data: StudyData, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Colour, shape and opacity of methods; sets the field `look` of `rows`: the method, or OTHERS.

    A method looks as in all figures of the study, whichever data set is shown. Its variants (`hydra +int8`) have colours of
    their own while there are any.
    """
    named = standing_out(data.summary[(data.summary["stage"] == data.spec.stage) & (data.summary["stage"] != DENSE)])
    methods = sorted({row["method"] for row in rows if row["ratio"] > 0})
    shown = [method for method in methods if label_of(method.partition(" +")[0]) in named]
    for row in rows:
        row["look"] = row["method"] if row["method"] in shown else OTHERS
    places = {method: named.index(label_of(method)) for method in shown if " +" not in method}
    for place, method in enumerate((method for method in shown if method not in places), start=len(named)):
        places[method] = place if place < len(COLOURS) else named.index(label_of(method.partition(" +")[0]))
    domain = [*shown, *([OTHERS] if len(shown) < len(methods) else [])]
    colours = [COLOURS[places[method]] for method in shown] + [GREY] * (len(domain) - len(shown))
    # What is grey is a circle: a cross is what answers with one class.
    shapes = [SHAPES[places[method] % len(SHAPES)] if method in places else SHAPES[0] for method in domain]
    faint = {"test": f"datum.look == '{OTHERS}'", "value": 0.55}
    chosen = {"condition": [{"test": {"not": {"param": "chosen"}}, "value": 0.08}, faint], "value": 1}
    legend = {"title": None}
    return {
        "color": {"field": "look", "type": "nominal", "scale": {"domain": domain, "range": colours}, "legend": legend},
        "shape": {"field": "look", "type": "nominal", "scale": {"domain": domain, "range": shapes}, "legend": legend},
        "opacity": chosen,
        "faint": {"condition": [{"test": {"not": {"param": "chosen"}}, "value": 0.03}], "value": 0.45},
    }


def tradeoff_chart(data: StudyData) -> dict[str, Any] | None:
    """Era or vra against what is left of a network, its bytes, its latency and its budget; None if none of them is known."""
    rows = _with_costs(data)
    if not rows:
        return None
    againsts = list(dict.fromkeys(row["against"] for row in rows))
    params, filters = _menus(rows, ("network",))
    params = [
        {
            "name": "menu_against",
            "value": _most_telling(rows, againsts),
            "bind": {"input": "select", "options": againsts, "name": "against "},
        },
        {
            "name": "menu_metric",
            "value": data.metrics[0],
            "bind": {"input": "select", "options": data.metrics, "name": "what is kept "},
        },
        *params,
    ]
    filters += [{"filter": "datum.against == menu_against && datum.metric == menu_metric"}]
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    look = _look(data, rows)
    columns = min(len(objectives), SIDE_BY_SIDE)
    tooltip = [
        *_tooltip(),
        {"field": "against", "title": "against", "type": "nominal"},
        {"field": "cost", "format": ",.4~g", "type": "quantitative"},
    ]
    x = {
        "field": "cost",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"title": None, "format": "~s", "tickCount": 4, "grid": False},
    }
    y = {"field": "value", "type": "quantitative", "title": "% of test images", "scale": {"domain": [0, 100]}}
    points = {
        "mark": {"type": "point", "filled": True, "size": 64},
        "encoding": {
            "x": x,
            "y": y,
            "color": look["color"],
            "shape": look["shape"],
            "opacity": look["opacity"],
            "tooltip": tooltip,
        },
        "params": [{"name": "chosen", "select": {"type": "point", "fields": ["look"]}, "bind": "legend"}],
        "transform": [{"filter": "datum.ratio > 0"}],
    }
    star = {
        "mark": {"type": "text", "text": "★", "fontSize": 16, "color": "#444"},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
        "transform": [{"filter": "datum.ratio == 0"}],
    }
    crossed = {
        "mark": {"type": "text", "text": "✕", "fontSize": 14, "fontWeight": "bold", "color": "black"},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
        "transform": [{"filter": "datum.constant"}],
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": rows},
        "params": params,
        "transform": filters,
        "facet": {"field": "objective", "sort": objectives},
        "columns": columns,
        # Menus are no part of a saved or printed chart.
        "title": {
            "text": {"expr": "'across: ' + menu_against + ' (logarithmic); up: ' + menu_metric"},
            "orient": "bottom",
            "fontSize": 12,
            "offset": 8,
        },
        "spec": {
            "width": min(700, WIDTH // columns),
            "height": 230,
            "layer": [points, star, crossed],
        },
        "config": CONFIG,
    }


def _most_telling(rows: list[dict[str, Any]], againsts: list[str]) -> str:
    """The quantity that a chart begins with: the first, or of networks of one ratio that by which they differ most."""
    pruned = [row for row in rows if row["ratio"] > 0]
    if len({row["ratio"] for row in pruned}) > 1:
        return againsts[0]
    return max(againsts, key=lambda against: len({row["cost"] for row in pruned if row["against"] == against}))


def _with_costs(data: StudyData) -> list[dict[str, Any]]:
    """A row for each cell, metric and quantity that is known of it."""
    table = data.cells
    sizes = table["effective_parameters"].fillna(table["nonzero"])
    quantities = {"parameters that are not zero": table["nonzero"], "effective parameters": sizes}
    taken = table[["weight_bytes", "index_bytes", "other_bytes"]].sum(axis=1, skipna=False)
    quantities["bytes of parameters"] = taken
    keys = [*CELL_COLUMNS, "stage"]
    for name, seconds in _latencies(data).items():
        quantities[name] = table[keys].merge(seconds, how="left", on=keys)["cost"]
    budgets = data.table("budgets")
    if "chain_gradient_evaluations" in budgets:
        spent = table[keys].merge(budgets, how="left", on=keys)["chain_gradient_evaluations"]
        quantities["gradient evaluations of the whole chain"] = spent
    found = []
    for name, costs in quantities.items():
        for row, cost in zip(table.to_dict("records"), costs.astype(float), strict=True):
            for metric in data.metrics:
                if cost > 0 and not math.isnan(row[metric]):
                    point = _point(row, metric)
                    if variant_of(row["stage"]):
                        point["method"] += f" +{variant_of(row['stage'])}"
                    found.append(point | {"against": name, "cost": float(f"{cost:.4g}")})
    return found


def _latencies(data: StudyData) -> dict[str, pd.DataFrame]:
    """Of each analysis that timed networks, `cost` by cell: milliseconds of a batch in the fastest form, mean over seeds."""
    found = {}
    for entry in data.spec.entries["analyses"]:
        table = data.table(entry.label) if entry.kind == "latency" else pd.DataFrame()
        if {"milliseconds", "batch_size"} <= set(table):
            keys = [*CELL_COLUMNS, "stage"]
            for size in sorted({int(size) for size in table["batch_size"].dropna()}):
                rows = table[table["batch_size"] == size]
                fastest = rows.groupby([*keys, "seed"])["milliseconds"].min().groupby(keys).mean()
                found[f"{entry.label}: milliseconds of {words.count(size, 'image')}"] = fastest.rename("cost").reset_index()
    return found

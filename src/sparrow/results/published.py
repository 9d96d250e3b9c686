"""Published figures beside those of the study: a line for each network and source, with what makes the two hard to compare.

A measured network is matched with a published one by kinds (data set, model, objective, method, granularity) and by its
ratio. If a source has several radii, the nearest counts. An era is compared under the attack that the source used, if the
study has one of that kind, and under all of the study's otherwise; a vra likewise.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from math import inf, isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from sparrow import radius
from sparrow.files import published_figures
from sparrow.files.atomic import replacing
from sparrow.files.csv_table import EXACT
from sparrow.files.paths import CELL_COLUMNS, LABEL_COLUMNS
from sparrow.files.specs import opened
from sparrow.results.comparable import with_whole_vra
from sparrow.results.granularity import behind_method
from sparrow.results.specs.comparison import PublishedSpec
from sparrow.results.tables import write_html
from sparrow.results.threats import in_words, with_text

if TYPE_CHECKING:
    from pandas.io.formats.style_render import CSSDict

METRICS = ("benign", "era", "vra")
Role = Literal["attack", "verifier"]
ROLES: dict[str, tuple[Role, str, Callable[..., str]]] = {
    "era": ("attack", "all of", min),
    "vra": ("verifier", "any of", max),
}
"""For each metric: the role of the entries behind it, the words before a list of them, and which of one kind counts."""
COLUMNS = ["source", *CELL_COLUMNS, "granularity", "seeds"]
COLUMNS += [f"{metric}{end}" for metric in METRICS for end in ("_published", "", "_difference")]
ASPECTS = ("attack", "verifier", "norm", "eps", "images", "data_regime", "epochs")
COLUMNS += [f"{aspect}{end}" for aspect in ASPECTS for end in ("_published", "")] + ["remarks"]
UNPUBLISHED, UNMEASURED = "no published figure", "not measured"
SAME_RADIUS = 1e-3
"""Relative difference of equal radii: 8/255 may be written 0.0314, but is not 0.031."""
CAPTION = (
    "Accuracies in percent: published → measured (measured minus published, in points); measured ones are means over seeds. "
    "Networks are the same if data set, model, objective, method, granularity and ratio are of one kind. An era is that under "
    "the attack that the source used, where the study has one of its kind, else under all of the study's; a vra likewise. The "
    "remarks say in what the two (there: published, here: measured) are not the same experiment."
)


@opened(PublishedSpec)
def write_published(summary: Path, figures: Path, table: Path, table_html: Path, spec: PublishedSpec) -> None:
    """Write summary.csv beside the `figures`. Raises SparrowError for bad files."""
    lines = compare(pd.read_csv(summary, converters=EXACT), published_figures.figures(figures), spec)
    exact = lines.assign(ratio=lines["ratio"].map(lambda ratio: repr(float(ratio))))
    for end in ("_published", ""):
        exact = with_text(exact, end)
    with replacing(table) as partial:
        exact.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    shown = _shown(lines)
    write_html(shown, table_html, _caption(spec), _styles(shown))


def compare(summary: pd.DataFrame, figures: list[dict[str, Any]], spec: PublishedSpec) -> pd.DataFrame:
    """A table of networks with published figures, then of those without, then of figures of the study's kinds without one."""
    theirs = pd.DataFrame(figures, columns=published_figures.FIGURE_COLUMNS).rename_axis("figure").reset_index()
    theirs = theirs[theirs["source"].isin(spec.sources) & (theirs["method_kind"] != "")]
    by_kind = theirs.assign(objective_kind=theirs["objective_kinds"].str.split()).explode("objective_kind")
    names = {column: f"{column}_published" for column in by_kind if column not in ("figure", "source", *published_figures.KEYS)}
    pairs = measured_means(summary, spec).merge(by_kind.rename(columns=names), how="left", on=published_figures.KEYS)
    pairs = pairs[_nearest(pairs)]
    lines = [_line(row, spec) for row in _records(pairs)]
    lines.sort(key=lambda line: line["source"] is None)
    rest = theirs[~theirs["figure"].isin(pairs["figure"]) & theirs["ratio"].isin(spec.ratios)]
    lines += [_unmeasured(row) for row in _records(rest) if _within_reach(row, spec)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _within_reach(row: dict[str, Any], spec: PublishedSpec) -> bool:
    """Whether a figure is of a data set, a model, an objective and a method that the study has."""
    methods = {(method.kind, method.granularity) for method in spec.methods.values()}
    return (
        row["dataset_kind"] in spec.datasets.values()
        and row["model_kind"] in spec.models.values()
        and not set(spec.objectives.values()).isdisjoint(row["objective_kinds"].split())
        and (row["method_kind"], row["granularity"]) in methods
    )


def measured_means(summary: pd.DataFrame, spec: PublishedSpec) -> pd.DataFrame:
    """One row per cell or dense network: its kinds, means over the seeds that have a result, and how many there are."""
    rows = with_whole_vra(summary[summary["stage"].isin(["dense", spec.stage])])
    if "data_regime" not in rows:
        rows = rows.assign(data_regime=None)
    own = {
        f"{metric}_{label}"
        for metric, (role, *_) in ROLES.items()
        for labels in spec.kinds_of(role).values()
        for label in labels
    }
    scores = [*METRICS, *(name for name in rows if name in own)]
    groups = rows.groupby(CELL_COLUMNS, sort=False)
    parts: list[pd.DataFrame | pd.Series] = [groups[scores].mean(), groups[[f"{score}_n" for score in scores]].max()]
    parts += [groups[["norm", "eps", "data_regime"]].first(), groups["benign"].count().rename("seeds")]
    parts += [groups["constant"].agg(lambda marks: marks.eq(True).sum())]
    parts += [groups["failed"].count(), groups.size().rename("networks")]
    table = pd.concat(parts, axis=1).reset_index()
    for room, kinds in (("dataset", spec.datasets), ("model", spec.models), ("objective", spec.objectives)):
        table[f"{room}_kind"] = table[room].map(kinds)
    table["method_kind"] = [spec.methods[label].kind for label in table["method"]]
    table["granularity"] = [spec.methods[label].granularity for label in table["method"]]
    return table


def _nearest(pairs: pd.DataFrame) -> pd.Series:
    """Whether a published figure is at the radius of its source that is nearest to the network's."""
    gap = (pairs["eps_published"] - pairs["eps"]).abs().fillna(inf)
    return gap == gap.groupby([pairs[key] for key in (*CELL_COLUMNS, "source")], dropna=False).transform("min")


def _line(row: dict[str, Any], spec: PublishedSpec) -> dict[str, Any]:
    row = {key: None if pd.isna(value) else value for key, value in row.items()}
    line = {key: row[key] for key in ("source", *CELL_COLUMNS, "granularity", "seeds", "norm", "eps", "data_regime")}
    line |= {f"{aspect}_published": row[f"{aspect}_published"] for aspect in ASPECTS}
    line["epochs"] = spec.epochs[row["objective"]][row["method"]]
    behind = {"benign": "benign"}
    for metric, (role, *_) in ROLES.items():
        behind[metric], line[role] = _decided(row, metric, spec)
    for metric, name in behind.items():
        theirs, ours = row[f"{metric}_published"], row[name]
        line |= {f"{metric}_published": theirs, metric: None if ours is None else 100 * ours}
        line[f"{metric}_difference"] = None if None in (theirs, ours) else 100 * ours - theirs
    # The images of the most expensive metric, which may be evaluated on fewer than all.
    shown = [metric for metric in ("vra", "era", "benign") if metric == "benign" or line[ROLES[metric][0]]]
    shown = [metric for metric in shown if row["source"] is None or line[f"{metric}_published"] is not None]
    line["images"] = row[f"{behind[shown[0]]}_n"] if shown else None
    line["remarks"] = "; ".join(_remarks(row, line, spec))
    return line


def _decided(row: dict[str, Any], metric: str, spec: PublishedSpec) -> tuple[str, str | None]:
    """The column that a published `metric` is compared with, and the attack or verifier behind it, if there is one."""
    role, joined, strongest = ROLES[metric]
    own = spec.kinds_of(role)[row["objective"]]
    alike = [label for label, kind in own.items() if kind == row[f"{role}_kind_published"]]
    alike = [label for label in alike if row.get(f"{metric}_{label}") is not None]
    if alike:
        label = strongest(alike, key=lambda label: row[f"{metric}_{label}"])
        return f"{metric}_{label}", label
    counted = [label for label in own if label not in spec.not_in_era]
    if len(counted) > 1:
        return metric, f"{joined} {', '.join(counted)}"
    return metric, next(iter(counted), None)


def _remarks(row: dict[str, Any], line: dict[str, Any], spec: PublishedSpec) -> Iterator[str]:
    """Differences between the published (there) and the measured network (here), in words."""
    if row["failed"]:
        yield f"{row['failed']} of {row['networks']} networks here without a full result"
    if row["constant"]:
        yield f"{row['constant']} of {row['networks']} networks here answer with one class, whatever they see"
    if row["source"] is None:
        yield UNPUBLISHED
        return
    if row["dataset"] in spec.stand_ins:
        yield f"another data set: {row['dataset']} here, {row['dataset_kind']} there"
    first = row["objective_kinds_published"].split()[0]
    if first != row["objective_kind"]:
        yield f"trained on {first} there, {row['objective_kind']} here"
    if spec.methods[row["method"]].settings:
        yield f"here with {spec.methods[row['method']].settings}"
    compared = [metric for metric in ROLES if line[f"{metric}_published"] is not None]
    if compared and not _same_threat(line):
        yield f"{_threat(line, '_published')} there, {_threat(line)} here"
    for metric in compared:
        role = ROLES[metric][0]
        if line[role] is None:
            yield f"{metric} by {line[f'{role}_published']} there, by nothing here"
        elif spec.kinds_of(role)[row["objective"]].get(line[role]) != row[f"{role}_kind_published"]:
            yield f"{metric} by {line[f'{role}_published']} there, by {line[role]} here"
        elif line[role] in spec.nonstandard:
            yield f"{line[role]} here with {spec.nonstandard[line[role]]}"
    theirs, ours = line["images_published"], line["images"]
    if None not in (theirs, ours) and theirs != ours:
        yield f"{theirs:,.0f} test images there, {ours:,.0f} here"
    for aspect, what in (("data_regime", "data"), ("epochs", "epochs")):
        theirs, ours = line[f"{aspect}_published"], line[aspect]
        if theirs != ours and ours:
            yield f"{what}: {theirs or 'not stated'} there, {ours} here"
    for source in ("note_published", "remark_published"):
        if row[source]:
            yield f"there: {row[source]}"


def _same_threat(line: dict[str, Any]) -> bool:
    theirs = line["eps_published"]
    return theirs is not None and line["norm_published"] == line["norm"] and isclose(theirs, line["eps"], rel_tol=SAME_RADIUS)


def _threat(line: dict[str, Any], end: str = "") -> str:
    norm, eps = line[f"norm{end}"], line[f"eps{end}"]
    return in_words(norm, eps) if eps is not None and pd.notna(eps) else f"{norm or ''} (radius not stated)".strip()


def _unmeasured(row: dict[str, Any]) -> dict[str, Any]:
    """The line of a figure without a network, with the kinds that the network would have."""
    line = {key: row[f"{key}_kind"] for key in ("dataset", "model", "method")}
    line |= {"objective": row["objective_kinds"].split()[0]} | {key: row[key] for key in ("source", "ratio", "granularity")}
    return line | {f"{key}_published": row[key] for key in (*METRICS, *ASPECTS)} | {"remarks": UNMEASURED}


def _caption(spec: PublishedSpec) -> str:
    others = [f"{label} is not {spec.datasets[label]}" for label in spec.stand_ins]
    warning = f"<strong>Not the published data: {html.escape('; '.join(others))}.</strong><br>" if others else ""
    return warning + CAPTION


def _shown(lines: pd.DataFrame) -> pd.DataFrame:
    """The page's table: published and measured figures in one column, and the circumstances of each in another."""
    shown = lines[["source", *LABEL_COLUMNS]].copy()
    shown["method"] = lines["method"] + lines["granularity"].map(behind_method).astype(str)
    shown["ratio"] = lines["ratio"].map("{:g}".format)
    shown["seeds"] = [_number(value, ",.0f") for value in lines["seeds"]]
    records = _records(lines)
    for metric in METRICS:
        if lines[f"{metric}_published"].notna().any():
            shown[metric] = [_side_by_side(row, metric) for row in records]
    for end, name in (("_published", "there"), ("", "here")):
        shown[f"evaluated {name}"] = [_evaluated(row, end) for row in records]
        if lines[f"data_regime{end}"].fillna("").ne("").any():
            shown[f"data {name}"] = lines[f"data_regime{end}"].replace("", None)
    shown["remarks"] = lines["remarks"]
    return shown.fillna("–")


def _styles(shown: pd.DataFrame) -> list[CSSDict]:
    """Styles by which figures stay on one line and texts may break."""
    texts = [place for place, name in enumerate(map(str, shown)) if name == "remarks" or name.endswith((" there", " here"))]
    cells, heads = (", ".join(f"{tag}.col{place}" for place in (0, *texts)) for tag in ("td", "th"))
    return [
        {"selector": "td", "props": "vertical-align: top"},
        {"selector": f"{cells}, {heads}", "props": "text-align: left"},
        {"selector": cells, "props": "white-space: normal; min-width: 9em"},
        {"selector": "td:last-child", "props": "min-width: 32em"},
    ]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else f"{value:{form}}"


def _side_by_side(row: dict[str, Any], metric: str) -> str:
    theirs, ours, difference = (row[f"{metric}{end}"] for end in ("_published", "", "_difference"))
    return f"{_number(theirs, '.1f')} → {_number(ours, '.1f')}" + ("" if pd.isna(difference) else f" ({difference:+.1f})")


def _evaluated(row: dict[str, Any], end: str) -> str:
    """Attack and verifier, radius and number of images, in words; a dash if nothing is compared."""
    if pd.isna(row["source"]) or (not end and row["remarks"] == UNMEASURED):
        return "–"
    by = [row[f"{role}{end}"] for metric, (role, *_) in ROLES.items() if pd.notna(row[f"{metric}_published"])]
    by = [one for one in by if one]
    # Some sources name the radius themselves.
    eps = row[f"eps{end}"]
    named = pd.notna(eps) and any(form in " ".join(by) for form in (f"{eps:g}", radius.text(eps)))
    parts = [*by, *([] if named else [_threat(row, end)])] if by else []
    parts += [f"{row[f'images{end}']:,.0f} images"] if pd.notna(row[f"images{end}"]) else []
    return ", ".join(parts) or "–"

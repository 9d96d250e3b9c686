"""Summary, costs and ranking as HTML tables."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pandas.io.formats.style import Styler

from sparrow.files.atomic import replacing
from sparrow.files.csv_table import EXACT
from sparrow.files.paths import CELL_COLUMNS, LABEL_COLUMNS
from sparrow.results import marks
from sparrow.results.budget import CHAIN, budgets
from sparrow.results.comparable import ABOVE, DOUBTED, PARTIAL, above_era, by_some, may_be_lower
from sparrow.results.table_file import write_table
from sparrow.results.table_filter import with_menus
from sparrow.results.threats import in_words

if TYPE_CHECKING:
    from pandas.io.formats.style_render import CSSDict

METRICS = ("benign", "era", "vra")
KEYS = [*CELL_COLUMNS, "stage", "seed"]
FACTS = {
    "pipeline": "prunes",
    "iterative": "steps",
    "structure": "removes",
    "locality": "within",
    "criterion": "criterion",
}
"""What summary.csv says of a method, and the headers that these columns have on a page."""
MENUS = [*KEYS[:-1], "granularity", "metric", *FACTS.values(), "verdict"]
"""Headers of the columns by which a page's rows can be chosen."""
COMPACT_NOTE = " Left: of a network that lost whole filters, without them."
RANKING_CAPTION = (
    "Accuracies in percent with 95 % intervals, over seeds where there are several (Student), else over images (Wilson). "
    "Behind: the best method's accuracy minus this one's, on the same seeds and images, with a 95 % interval that covers "
    "training again and testing on other images. Level: methods of the same accuracy share the first rank, and none is the "
    "best; there is no interval where every pair of outcomes differs alike. Within the noise: it holds 0. Worse: it does "
    "not, even with Holm's "
    "adjustment over the methods of a comparison; likely worse: only without. Constant: a network of the method answers with "
    "one class, whatever it sees, and has no rank. A share of the weights "
    "is not that share of the filters: each granularity is compared by itself. Costs are per network, "
    "means over seeds; those of the whole chain are of pre-training, too, where the dense network was pruned, or taught "
    "what is left. Methods that prune the initial network train what is left under the pre-training schedule, before or "
    "after; all others have the same fine-tuning, an imported fine-tuned network its own."
)
MARK = f" {DOUBTED}"
MARK_NOTE = (
    f" {DOUBTED}: an attack met something that may make the network look more robust than it is, and not every image that "
    "stands is verified."
)
ABOVE_NOTE = (
    f" {ABOVE}: the vra is above the era, and the two are of different images; on the same ones, that would be a contradiction."
)
PARTIAL_NOTE = (
    f" {PARTIAL}: the vra is by some of the verifiers, since others failed; it is less than it would be, and is in no mean, "
    "figure, rank or share."
)
CSS: list[CSSDict] = [
    {"selector": "", "props": "border-collapse: collapse; font: 13px system-ui, sans-serif; margin: 1em"},
    {
        "selector": "th, td",
        "props": "padding: 3px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #e5e5e5",
    },
    {"selector": "th", "props": "background: #f5f5f5; position: sticky; top: 0"},
    {"selector": "caption", "props": "text-align: left; padding: 6px 0; color: #555; max-width: 60em"},
]

STALE_NOTE = (
    " Pruned networks that are not fine-tuned may owe most of their loss to batch norm's statistics, which are the dense "
    "network's for methods that do not train: <code>norm_statistics: recompute</code> of a method takes them anew."
)


def write_tables(
    summary: Path, costs: Path, ranking: Path, budget: Path, summary_html: Path, costs_html: Path, ranking_html: Path
) -> None:
    """Write summary.csv, costs.csv and ranking.csv as HTML tables, and what each network cost as budgets.csv."""
    checkpoints, jobs = pd.read_csv(summary, converters=EXACT), pd.read_csv(costs)
    write_table(budgets(jobs, checkpoints), budget)
    summary_table(checkpoints, summary_html)
    ranking_table(pd.read_csv(ranking), jobs, checkpoints, ranking_html)
    cost_table(jobs, costs_html)


def summary_table(table: pd.DataFrame, output: Path) -> None:
    """Write a row per checkpoint: accuracies and preserved shares of them, with their intervals, in percent."""
    shown = table[KEYS].copy()
    shown["ratio"] = shown["ratio"].map("{:g}".format)
    shown = shown.join(facts_in_words(table))
    shown["sparsity"] = table["sparsity_prunable"].map(_percent)
    shown["sparsity (all)"] = table["sparsity_all"].map(_percent)
    shown["nonzero"] = table["nonzero"].map(_count)
    shown["effective"] = table["effective_parameters"].map(_count)
    for metric in METRICS:
        shown[metric] = [_with_interval(row, metric) for _, row in table.iterrows()]
    odd = _warned(table)
    shown["era"] = [era + MARK if warned else era for era, warned in zip(shown["era"], odd, strict=True)]
    said = [{ABOVE: above_era(row), PARTIAL: by_some(row)} for row in table.to_dict("records")]
    shown["vra"] = [
        vra + "".join(f" {mark} ({note})" for mark, note in notes.items() if note)
        for vra, notes in zip(shown["vra"], said, strict=True)
    ]
    for metric in METRICS:
        shown[f"preserved {metric}"] = [_with_interval(row, f"preserved_{metric}") for _, row in table.iterrows()]
    note = MARK_NOTE if odd.any() else ""
    note += ABOVE_NOTE if any(notes[ABOVE] for notes in said) else ""
    note += PARTIAL_NOTE if any(notes[PARTIAL] for notes in said) else ""
    if table["constant"].eq(True).any():
        shown.insert(len(KEYS), "one class", table["constant"].map({True: "yes"}).fillna(""))
    for column in ("warnings", "era_warnings"):
        if column in table and table[column].notna().any() and table[column].ne("").any():
            shown[column.replace("_", " ")] = table[column].astype(object).fillna("")
    if table["compact_parameters"].notna().any():
        note += COMPACT_NOTE
        shown["parameters left"] = table["compact_parameters"].map(_count)
        shown["multiply-adds left"] = table["compact_multiply_adds"].map(_count)
    if "uncut" in table and table["uncut"].notna().any():
        shown["stays masked"] = table["uncut"].fillna("")
    if table["failed"].notna().any():
        # At the end: sentences before the numbers would push these out of sight.
        shown["failed"] = table["failed"].fillna("")
    regimes = table["data_regime"].dropna().unique()
    if len(regimes) > 1:
        shown.insert(1, "data regime", table["data_regime"].fillna("–"))
    elif len(regimes):
        note += f" Data: {html.escape(regimes[0])}."
    if (table["stage"] == "pruned").any():
        note += STALE_NOTE
    note += _name_threats(shown, table)
    warning = "".join(f"<strong>Warning: {html.escape(line)}.</strong><br>" for line in marks.sentences(table))
    images = "; ".join(f"{metric} {_span(table[f'{metric}_n'])}" for metric in METRICS)
    caption = (
        f"{warning}Images: {images}. Accuracies in percent with 95 % intervals (Wilson); preserved: pruned over dense, on the "
        "same images. era: no attack of the study succeeds; vra: some verifier proves it. Effective: parameters that are not "
        "zero, without the units that cannot matter." + note
    )
    write_html(shown, output, caption, _wrapped(shown, ["warnings", "era warnings", "stays masked", "failed"]))


def _wrapped(shown: pd.DataFrame, columns: list[str]) -> list[CSSDict]:
    """Styles that break the sentences of `columns` into lines: a long path in one of them would make the page endless."""
    props = "white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 24em; max-width: 40em"
    places = [shown.columns.get_loc(column) for column in columns if column in shown]
    return [{"selector": f"td.col{place}", "props": props} for place in places]


def costs_by_stage(table: pd.DataFrame) -> pd.DataFrame:
    """A row per stage (per entry of attacks, verifiers, analyses): jobs, seconds, peak memory, gradient evaluations."""
    what = table["stage"].where(~table["stage"].isin(["attack", "verify", "analyse"]), table["job"].str.split("/").str[-1])
    grouped = table.assign(what=what).groupby(["stage", "what"], sort=False)
    return grouped.agg(
        jobs=("job", "size"),
        seconds=("seconds", "sum"),
        slowest=("seconds", "max"),
        peak_memory_mb=("peak_memory_mb", "max"),
        gradient_evaluations=("gradient_evaluations", "sum"),
    ).reset_index()


def cost_table(table: pd.DataFrame, output: Path) -> None:
    """Write what each kind of job took, as `costs_by_stage` says."""
    shown = costs_by_stage(table)
    for column, form in (("seconds", "{:,.1f}"), ("slowest", "{:,.1f}"), ("peak_memory_mb", "{:,.0f}")):
        shown[column] = shown[column].map(form.format)
    shown["gradient_evaluations"] = shown["gradient_evaluations"].map("{:,}".format)
    write_html(
        shown, output, "Seconds are those of the jobs' own work, not of starting them; memory is the largest job's peak."
    )


def ranking_table(ranking: pd.DataFrame, costs: pd.DataFrame, summary: pd.DataFrame, output: Path) -> None:
    """Write the methods by era and vra, their distance from the best, and the costs of pruning and fine-tuning per network."""
    keys = [*LABEL_COLUMNS, "ratio", "granularity", "stage", "metric"]
    shown = ranking[keys].copy()
    facts = summary[[*CELL_COLUMNS]].join(facts_in_words(summary)).drop_duplicates(CELL_COLUMNS)
    shown["ratio"] = shown["ratio"].map("{:g}".format)
    shown["rank"], shown["method"], shown["seeds"] = (
        ranking["rank"].map(_count),
        ranking["method"],
        ranking["seeds"].map(_count),
    )
    own = ranking[CELL_COLUMNS].merge(facts.drop(columns="removes", errors="ignore"), how="left").drop(columns=CELL_COLUMNS)
    shown = shown.join(own.set_index(ranking.index))
    shown["accuracy"] = [
        _with_interval(row.rename({"low": "mean_low", "high": "mean_high"}), "mean") for _, row in ranking.iterrows()
    ]
    marked = _warned_cells(ranking, summary)
    shown["accuracy"] = [text + MARK if warned else text for text, warned in zip(shown["accuracy"], marked, strict=True)]
    shown["behind the best by"] = ["" if row["rank"] == 1 else _with_interval(row, "behind") for _, row in ranking.iterrows()]
    shown["verdict"] = ranking["verdict"]  # `failed`: a network of the method could not be made or evaluated.
    if ranking.empty:
        write_html(shown, output, "No pruned network is evaluated, and so there is nothing to rank.")
        return
    spent = ranking[[*CELL_COLUMNS, "stage"]].merge(budgets(costs, summary), how="left")
    for quantity, form in (("gradient_evaluations", _count), ("seconds", "{:,.1f}".format)):
        for stage in (stage for stage in CHAIN if f"{stage}_{quantity}" in spent):
            shown[f"{stage}: {quantity.replace('_', ' ')}"] = spent[f"{stage}_{quantity}"].map(form)
    shown["whole chain: gradient evaluations"] = spent["chain_gradient_evaluations"].map(_count)
    note = MARK_NOTE if any(marked) else ""
    write_html(shown, output, RANKING_CAPTION + note + _name_threats(shown, summary))


def facts_in_words(summary: pd.DataFrame) -> pd.DataFrame:
    """Columns that say what the methods of a summary are, as texts; none, if it knows of no method."""
    known = summary.reindex(columns=list(FACTS)).rename(columns=FACTS)
    if known["prunes"].isna().all():
        return known[[]]
    known["prunes"] = known["prunes"].map({"after": "after training", "before": "before training", "during": "during training"})
    known["steps"] = known["steps"].map({True: "iterative", False: "one shot"})
    return known.fillna("")


def _warned(summary: pd.DataFrame) -> pd.Series:
    """Whether the era of each network of a summary may be lower than attacks found."""
    return pd.Series([bool(may_be_lower(row)) for row in summary.to_dict("records")], index=summary.index, dtype=bool)


def _warned_cells(ranking: pd.DataFrame, summary: pd.DataFrame) -> list[bool]:
    """Whether each line of a ranking is on the era of a network that has warnings of an attack."""
    warned = set(summary.loc[_warned(summary), [*CELL_COLUMNS, "stage"]].itertuples(index=False, name=None))
    lines = ranking[[*CELL_COLUMNS, "stage"]].itertuples(index=False, name=None)
    return [metric == "era" and line in warned for metric, line in zip(ranking["metric"], lines, strict=True)]


def _name_threats(shown: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Insert a column with the objectives' threats if they differ, and return ''; else a sentence for the caption."""
    known = summary[["objective", "norm", "eps"]].drop_duplicates("objective")
    words = {objective: in_words(norm, eps) for objective, norm, eps in known.itertuples(index=False)}
    if len(set(words.values())) > 1:
        shown.insert(list(shown).index("objective") + 1, "threat", shown["objective"].map(words))
        return ""
    return f" Threat: {next(iter(words.values()))}."


def _count(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.0f}"


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2%}"


def _span(counts: pd.Series) -> str:
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def _with_interval(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return "–"
    # An interval without a width is no evidence.
    if pd.isna(row[f"{name}_low"]) or row[f"{name}_low"] == row[f"{name}_high"]:
        return f"{100 * row[name]:.1f}"
    return f"{100 * row[name]:.1f} [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"


def write_html(table: pd.DataFrame, output: Path, caption: str, styles: list[CSSDict] | None = None) -> None:
    """Write a table as an HTML page; `caption` is HTML, the cells are text, `styles` come after those of all tables."""
    styler = (
        Styler(table, uuid="sparrow", cell_ids=False)
        .format(escape="html")
        .hide(axis="index")
        .set_caption(caption)
        .set_table_styles([*CSS, *(styles or ())])
    )
    with replacing(output) as partial:
        partial.write_text(with_menus(styler.to_html(doctype_html=True), MENUS), encoding="utf-8")

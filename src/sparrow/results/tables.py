"""The summary and the costs as HTML tables, for the report and for reading."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

METRICS = ("benign", "era", "vra")
KEYS = ["dataset", "model", "objective", "method", "ratio", "stage", "seed"]
CSS = [
    {"selector": "", "props": "border-collapse: collapse; font: 13px system-ui, sans-serif; margin: 1em"},
    {
        "selector": "th, td",
        "props": "padding: 3px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #e5e5e5",
    },
    {"selector": "th", "props": "background: #f5f5f5; position: sticky; top: 0"},
    {"selector": "caption", "props": "text-align: left; padding: 6px 0; color: #555; max-width: 60em"},
]


def write_tables(summary: Path, costs: Path, summary_html: Path, costs_html: Path) -> None:
    """Lay out summary.csv and costs.csv."""
    summary_table(summary, summary_html)
    cost_table(costs, costs_html)


def summary_table(summary: Path, output: Path) -> None:
    """One row per checkpoint: accuracies with their intervals, and what is preserved of them, in percent."""
    table = pd.read_csv(summary)
    shown = table[KEYS].copy()
    shown["ratio"] = shown["ratio"].map("{:g}".format)
    shown["sparsity"] = table["sparsity_prunable"].map("{:.2%}".format)
    shown["sparsity (all)"] = table["sparsity_all"].map("{:.2%}".format)
    shown["nonzero"] = table["nonzero"].map("{:,}".format)
    for metric in METRICS:
        shown[metric] = [_with_interval(row, metric) for _, row in table.iterrows()]
    for metric in METRICS:
        shown[f"preserved {metric}"] = [_with_interval(row, f"preserved_{metric}") for _, row in table.iterrows()]
    images = "; ".join(f"{metric} {_span(table[f'{metric}_n'])}" for metric in METRICS)
    caption = (
        f"Images: {images}. Accuracies in percent with 95 % intervals (Wilson); preserved: pruned over dense, on the same "
        "images. era: no attack of the study succeeds; vra: some verifier proves it."
    )
    _write(shown, output, caption)


def cost_table(costs: Path, output: Path) -> None:
    """One row per stage: jobs, seconds, peak memory and gradient evaluations."""
    table = pd.read_csv(costs)
    table["what"] = table["stage"].where(~table["stage"].isin(["attack", "verify"]), table["job"].str.split("/").str[-1])
    grouped = table.groupby(["stage", "what"], sort=False).agg(
        jobs=("job", "size"),
        seconds=("seconds", "sum"),
        slowest=("seconds", "max"),
        peak_memory_mb=("peak_memory_mb", "max"),
        gradient_evaluations=("gradient_evaluations", "sum"),
    )
    shown = grouped.reset_index()
    for column, form in (("seconds", "{:,.1f}"), ("slowest", "{:,.1f}"), ("peak_memory_mb", "{:,.0f}")):
        shown[column] = shown[column].map(form.format)
    shown["gradient_evaluations"] = shown["gradient_evaluations"].map("{:,}".format)
    _write(shown, output, "Seconds are those of the jobs' own work, not of starting them; memory is the largest job's peak.")


def _span(counts: pd.Series) -> str:
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def _with_interval(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return "–"
    if pd.isna(row[f"{name}_low"]):
        return f"{100 * row[name]:.1f}"
    return f"{100 * row[name]:.1f} [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"


def _write(table: pd.DataFrame, output: Path, caption: str) -> None:
    styler = Styler(table, uuid="sparrow", cell_ids=False).hide(axis="index").set_caption(caption).set_table_styles(CSS)
    output.write_text(styler.to_html(doctype_html=True), encoding="utf-8")

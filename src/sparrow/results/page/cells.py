"""All networks as one table: a row for each, with accuracies and their intervals, sizes, and what its method is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sparrow.files.paths import DENSE
from sparrow.results.comparable import ABOVE, DOUBTED, PARTIAL, above_era, by_some, may_be_lower
from sparrow.results.page.facts import STAGE, fact_columns
from sparrow.results.page.failures import reason_of
from sparrow.results.page.grid import Column, Grid, grid, intervals, numbers, texts
from sparrow.results.page.study_data import StudyData
from sparrow.results.tables import facts_in_words

SIZES = {
    "sparsity_prunable": ("zeros", "Share of zeros among the weights that may be pruned, counted in the file"),
    "nonzero": ("nonzero", "Parameters that are not zero"),
    "effective_parameters": ("effective", "Parameters that are not zero, without the units that cannot matter"),
    "compact_parameters": ("left", "Parameters of the network as it is on disk, without the filters that it lost"),
    "bits": ("bits", "Bits of a prunable weight"),
}
LEAST = 0.05
"""Of a dense network's accuracy below this share of the images, no ratio is shown."""
MARKS = (
    f"✕: answers with one class, {DOUBTED}: its era may be lower than attacks found, !: it, or an evaluation of it, failed, "
    f"{ABOVE}: its vra is above its era, of other images, {PARTIAL}: its vra is by some of the verifiers, others failed"
)
NOTES = ("failed", "warnings", "era_warnings", "uncut")


def all_cells(data: StudyData) -> Grid:
    """The grid of summary.csv."""
    table = data.summary
    # The row says of which network; what failed comes first.
    reasons = [reason_of(text, data.spec.results) if text else "" for text in texts(table["failed"])]
    table = table.assign(failed=pd.Series(reasons, table.index).replace("", None))
    return grid("cells", [*_names(table), *_accuracies(data, table), *_sizes(table), *_facts(table), *_notes(table)])


def marks(data: StudyData) -> str:
    """The marks that some network of summary.csv has."""
    return "".join(sorted(set("".join(_marks(data.summary)))))


def _names(table: pd.DataFrame) -> list[Column]:
    ratios = [f"{ratio:g}" for ratio in table["ratio"]]
    return [
        Column("data set", "text", texts(table["dataset"]), table["dataset"].nunique() > 1, chosen_by=True),
        Column("model", "text", texts(table["model"]), table["model"].nunique() > 1, chosen_by=True),
        Column("objective", "text", texts(table["objective"]), table["objective"].nunique() > 1, chosen_by=True),
        Column("method", "text", texts(table["method"]), chosen_by=True),
        Column("ratio", "number", [float(ratio) for ratio in ratios], chosen_by=True),
        Column("seed", "number", numbers(table["seed"]), table["seed"].nunique() > 1, chosen_by=True),
        Column("stage", "text", texts(table["stage"]), table["stage"].nunique() > 2, chosen_by=True, says=STAGE),
        Column("", "mark", _marks(table), says=MARKS),
    ]


def _marks(table: pd.DataFrame) -> list[str]:
    marks = pd.Series("", table.index)
    marks = marks.where(~table["constant"].eq(True), marks + "✕")
    marks += [DOUBTED if may_be_lower(row) else "" for row in table.to_dict("records")]
    marks = marks.where(table["failed"].isna(), marks + "!")
    return [mark + "".join(note[0] for note in notes) for mark, notes in zip(marks, _vra_notes(table), strict=True)]


def _vra_notes(table: pd.DataFrame) -> list[list[str]]:
    """What is to be said of each network's vra, behind a mark each: that it is above era, that verifiers failed."""
    found = []
    for row in table.to_dict("records"):
        said = {ABOVE: above_era(row), PARTIAL: by_some(row)}
        found.append([f"{mark} {note}" for mark, note in said.items() if note])
    return found


def _accuracies(data: StudyData, table: pd.DataFrame) -> list[Column]:
    notes = {"vra": ["; ".join(one) for one in _vra_notes(table)]}
    columns = [
        Column(
            metric,
            "interval",
            _or_failed(table, intervals(table, metric, notes=notes.get(metric))),
            says=f"{says}, % of test images, 95 % interval below",
        )
        for metric, says in (
            ("benign", "Classified correctly"),
            ("era", "No attack succeeds within the threat"),
            ("vra", "Some verifier proves that no attack can succeed"),
        )
    ]
    columns += [
        Column(
            f"kept {metric}",
            "interval",
            _kept(data, metric),
            says="Pruned over dense, %, on the same images; above 100 the pruned network has more than the dense one",
        )
        for metric in ("benign", "era", "vra")
        if f"preserved_{metric}" in table
    ]
    single = [name for name in map(str, table) if name.startswith(("era_", "vra_")) and f"{name}_low" in table]
    return columns + [Column(name.replace("_", " ", 1), "interval", intervals(table, name), shown=False) for name in single]


def _or_failed(table: pd.DataFrame, found: Sequence[list | None]) -> list[list | str | None]:
    """Accuracies, and the reason where a network that failed has none."""
    return [
        own if own is not None or not reason else f"failed: {reason}"
        for own, reason in zip(found, texts(table["failed"]), strict=True)
    ]


def _kept(data: StudyData, metric: str) -> list[list | str | None]:
    """Shares of the dense network's accuracy, and why there is none where that is too small to be divided by."""
    why = f"no ratio: the dense network's {metric} is below {100 * LEAST:g} %"
    shares = zip(data.before(metric), intervals(data.summary, f"preserved_{metric}"), strict=True)
    return [why if before < LEAST else own for before, own in shares]


def undivided(data: StudyData) -> list[str]:
    """The metrics of which some pruned network has no share of the dense one's, because that is below LEAST."""
    table = data.summary
    pruned = (table["stage"] != DENSE).to_numpy()
    return [
        metric
        for metric in ("benign", "era", "vra")
        if f"preserved_{metric}" in table and (data.before(metric).to_numpy() < LEAST)[pruned].any()
    ]


def _sizes(table: pd.DataFrame) -> list[Column]:
    return [
        Column(title, "percent" if name.startswith("sparsity") else "number", numbers(table[name]), name != "bits", says=says)
        for name, (title, says) in SIZES.items()
        if name in table
    ]


def _facts(table: pd.DataFrame) -> list[Column]:
    return fact_columns(facts_in_words(table))


def _notes(table: pd.DataFrame) -> list[Column]:
    found = [Column(name.replace("_", " "), "long", texts(table[name]), name == "failed") for name in NOTES if name in table]
    digests = [Column("network", "text", texts(table["network"]), shown=False, says="Digest")] if "network" in table else []
    by = [Column("vra by", "text", texts(table["vra_by"]), shown=False, says="Verifiers")] if "vra_by" in table else []
    return [*found, *by, *digests]

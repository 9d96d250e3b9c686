"""The tables (CSV) of a study, made from its files: outcomes, summary, layers, recall, ranking and others."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparrow.errors import SparrowError
from sparrow.files import content
from sparrow.files.headers import MASK, failure, full_shape, kept_in, read, read_header, sha256
from sparrow.files.outcome_table import ABSTAINED
from sparrow.files.parentage import refuse_other_parents
from sparrow.files.paths import (
    DENSE,
    GRAFTED,
    IDENTITY,
    Parent,
    base_of,
    checkpoint_in,
    identity_of,
    parent_file,
    study_table,
    variant_of,
)
from sparrow.files.specs import opened
from sparrow.results import analyses, marks
from sparrow.results.comparable import verified_by_some, verifiers_behind
from sparrow.results.decisions import decisions
from sparrow.results.intensification import Pair, intensifications
from sparrow.results.outcomes import Outcomes, read_outcomes
from sparrow.results.ranking import Hits
from sparrow.results.recall import recalls
from sparrow.results.security import curve
from sparrow.results.specs.aggregate import AggregateSpec, MethodFacts
from sparrow.results.statistics import accuracy, preserved
from sparrow.results.storage import FULL, STORED, storage
from sparrow.results.table_file import write_table
from sparrow.results.threats import with_text
from sparrow.results.ties import ranked

LAYER_COLUMNS = ["layer", "weights", "nonzero", "sparsity", "bits"]
SIZES = ["sparsity_masks", "sparsity_prunable", "sparsity_all", "parameters", "nonzero", "multiply_adds"]
SIZES += ["effective_parameters", "effective_multiply_adds", "compact_parameters", "compact_multiply_adds", "uncut"]
EARLIER = "its filters were removed by an earlier version, which cut nothing out of checkpoints"
COUNTS = [
    "parameters",
    "nonzero",
    "multiply_adds",
    "effective_parameters",
    "effective_multiply_adds",
    "compact_parameters",
    "compact_multiply_adds",
    "weights",
    "images",
    *(column for column in STORED if column != "bits"),
]


@dataclass(frozen=True)
class Row:
    """One checkpoint: its identity, sizes and outcomes, and the reason why it failed, if it did."""

    identity: dict[str, Any]
    layers: pd.DataFrame
    size: dict[str, Any]
    outcomes: Outcomes
    analysed: list[analyses.Done]
    failed: str | None
    data_regime: str | None
    granularity: str
    """The units that were pruned: `weight`, `filter`, or a pattern such as `2:4`; empty for a dense network."""
    warnings: str | None
    """Warnings in its header, joined; None without any."""
    teacher: str | None
    """The stage of the network that fine-tuning learned from; None where it learned from labels, or was none."""
    about: tuple[str, str]
    """The first digits of the digests of its content and of its data set's."""
    stored: dict[str, float]
    """Its bits and bytes; empty, if it failed."""

    @property
    def parent(self) -> tuple:
        """Data set, model, objective and seed, which a pruned network and its dense parent share."""
        return tuple(self.identity[key] for key in Parent._fields)

    @property
    def pruned(self) -> bool:
        """Whether it is a pruned network, or a variant of one."""
        return base_of(self.identity["stage"]) != DENSE


@opened(AggregateSpec)
def aggregate(networks: list[Path], analysed: list[Path], folder: Path, spec: AggregateSpec) -> str | None:
    """Read the tables of all `networks` and write those of the study to `folder`, sorted by who the checkpoint is.

    `analysed` are the tables of all analyses that are not timed. Returns a line on what failed, if anything did.

    Raises SparrowError before anything is written if one file is not what it should be, if it was made from another file than
    lies there, or if two contradict each other.
    """
    digest = cache(sha256)  # Many have one parent.
    done = [analyses.read(path, spec.analyses) for path in analysed]
    for path in networks:
        refuse_other_parents(path, read_header(path), digest)
    own: dict[Path, list[analyses.Done]] = {path.with_suffix(""): [] for path in networks}
    for one in done:
        own.get(one.place, []).append(one)
    rows = [_row(path, own[path.with_suffix("")], spec) for path in networks]
    rows.sort(key=_order)
    dense = {row.parent: row.outcomes for row in rows if row.identity["stage"] == "dense"}
    tables = {
        "outcomes": pd.DataFrame([line for row in rows for line in _outcome_lines(row)], columns=OUTCOME_COLUMNS),
        "summary": _summary(rows, dense, spec),
        "layers": _layers(rows),
        "recall": _stacked((row, recalls(row.outcomes)) for row in rows),
        "intensification": intensifications(_pairs(rows, dense)),
        "ranking": ranked(_hits(row) for row in rows if row.pruned),
        "security": _stacked((row, curve(row.outcomes).assign(constant=row.outcomes.constant())) for row in rows),
        "decisions": _stacked((row, decisions(row.outcomes)) for row in rows),
    }
    for name, table in tables.items():
        table = with_text(table) if "eps" in table else table
        # A count that is missing somewhere is a count elsewhere.
        counts = [column for column in COUNTS if column in table]
        # Of layers that each have their own, an average.
        counts += [column for column in table if column == "bits" and not (table[column] % 1 > 0).any()]
        table[counts] = table[counts].astype("Int64")
        write_table(table, folder / study_table(name))
    failed = sum(row.failed is not None for row in rows)
    # Not analysed, a network has its accuracies all the same.
    lost = sum(row.failed is not None and (row.layers.empty or bool(row.outcomes.failed)) for row in rows)
    summary = folder / study_table("summary")
    lines = marks.sentences(tables["summary"])
    if failed:
        counts = [f"{lost} of {len(rows)} networks have no full result"] if lost else []
        beside = f"{failed - lost} of {len(rows)} networks have their accuracies, but not all analyses"
        counts += [beside] if failed > lost else []
        lines = [f"{', '.join(counts)}; the column `failed` of {summary} says why", *lines]
    # Of what is not about one network, no line of the summary says it.
    apart = [one for one in done if one.failed and one.place not in own]
    lines += [f"analysis {one.label} of {_below(folder, one.place)} failed: {one.failed}" for one in apart]
    return f"warning: {'; '.join(lines)}" if lines else None


def _below(folder: Path, place: Path) -> str:
    """Where a place lies below the results, in words if it is these."""
    found = Path(os.path.relpath(place, folder)).as_posix()
    return "the study" if found == "." else found


def _order(row: Row) -> tuple:
    return tuple(row.identity.values())


def _named(row: Row, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with the columns of the checkpoint's identity in front."""
    return table.assign(**row.identity)[[*IDENTITY, *table.columns]]


def _stacked(parts: Iterable[tuple[Row, pd.DataFrame]]) -> pd.DataFrame:
    """All tables that have rows in one, with identities in front; an empty one with the columns, if none has rows."""
    named = [_named(row, table) for row, table in parts]
    # An empty one has no types, and would take the others' away.
    return pd.concat([table for table in named if len(table)] or named[:1])


def _layers(rows: list[Row]) -> pd.DataFrame:
    """The layers of all rows, with their bits in studies with rounded networks."""
    layers = _stacked((row, row.layers) for row in rows)
    return layers if _rounded(rows) else layers.drop(columns="bits")


def _rounded(rows: list[Row]) -> bool:
    return any(variant_of(row.identity["stage"]) for row in rows)


def _hits(row: Row) -> Hits:
    by_metric = {"era": row.outcomes.robust(), "vra": row.outcomes.verified()}
    return Hits(row.identity | {"granularity": row.granularity}, by_metric, bool(row.outcomes.constant()))


def _pairs(rows: list[Row], dense: dict[tuple, Outcomes]) -> Iterator[Pair]:
    """Pairs of a pruned network and its dense parent, if both were evaluated."""

    def hits(outcomes: Outcomes) -> dict[str, pd.Series]:
        return {"benign": outcomes.correct(), "era": outcomes.robust(), "vra": outcomes.verified()}

    before = {parent: hits(outcomes) for parent, outcomes in dense.items()}  # Many have one parent.
    for row in rows:
        if row.pruned and row.parent in before:
            own = row.outcomes
            yield Pair(row.identity, own.labels(), before[row.parent], hits(own), bool(own.constant()))


def _row(path: Path, done: list[analyses.Done], spec: AggregateSpec) -> Row:
    failed = failure(path)
    objective = (failed or read_header(path))["cell"]["objective"]
    if objective not in spec.objectives:
        raise SparrowError(f"{path}: trained on {objective!r}; this study has {', '.join(map(repr, spec.objectives))}")
    outcomes = read_outcomes(path.with_suffix(""), spec.objectives[objective])
    own = checkpoint_in(failed or read_header(path)).path
    lost = own in spec.lost_filters
    granularity = "" if base_of(path.stem) == DENSE else "filter" if lost else spec.patterns.get(own, "weight")
    if failed:
        nothing = pd.DataFrame(columns=LAYER_COLUMNS), dict.fromkeys(SIZES, np.nan)
        return Row(
            identity_of(failed),
            *nothing,
            outcomes,
            done,
            failed["failed"],
            failed.get("data_regime"),
            granularity,
            _warning(failed),
            _teacher(path, failed),
            _about(failed),
            {},
        )
    header, tensors = read(path, framework="np")
    weights = {name: tensors[f"weight/{name}"] for name in header["parameters"]}
    kept = kept_in(tensors)
    shapes = {name: full_shape(weight.shape, kept.get(name, {})) for name, weight in weights.items()}
    sizes = pd.DataFrame(
        {
            "layer": header["prunable"],
            "weights": [math.prod(shapes[name]) for name in header["prunable"]],
            "nonzero": [np.count_nonzero(weights[name]) for name in header["prunable"]],
        }
    )
    sizes["sparsity"] = 1 - sizes["nonzero"] / sizes["weights"]
    sizes["bits"] = [header.get("layer_bits", {}).get(name, header.get("bits", FULL)) for name in header["prunable"]]
    total = sum(map(math.prod, shapes.values()))
    nonzero = sum(int(np.count_nonzero(weight)) for weight in weights.values())
    masks = {name.removeprefix(MASK): tensors[name] for name in tensors if name.startswith(MASK)}
    size = {
        "sparsity_masks": sum(_masked(mask, shapes[name]) for name, mask in masks.items()) / sizes["weights"].sum(),
        "sparsity_prunable": 1 - sizes["nonzero"].sum() / sizes["weights"].sum(),
        "sparsity_all": 1 - nonzero / total,
        "parameters": total,
        "nonzero": nonzero,
        "multiply_adds": header["multiply_adds"],
        # Files from before these were counted have the rest.
        **{name: header.get(name, np.nan) for name in ("effective_parameters", "effective_multiply_adds")},
        "compact_parameters": np.nan,
        "compact_multiply_adds": np.nan,
        "uncut": header.get("uncut"),
    }
    if lost and not kept and size["uncut"] is None and not all(mask.all() for mask in masks.values()):
        size["uncut"] = EARLIER
    if lost and (kept or size["uncut"] is None):
        size["compact_parameters"] = header.get("parameters_left", np.nan)
        size["compact_multiply_adds"] = header.get("multiply_adds_left", np.nan)
    reasons = list(outcomes.failed.values())
    reasons += [one.failed for one in done if one.failed]
    reason = next(iter(reasons), None)
    described = header["data_regime"], granularity, _warning(header), _teacher(path, header), _about(header)
    stored = storage(weights, header["prunable"], header.get("bits"), header.get("layer_bits"))
    return Row(identity_of(header), sizes, size, outcomes, done, reason, *described, stored)


def _masked(mask: np.ndarray, shape: tuple[int, ...]) -> int:
    """How many entries masks remove of a tensor of a `shape`, filters that were cut out with them; `mask` is of what is left.

    What a filter would read of others that were cut out is not masked, unless the filter is.
    """
    rows = mask.reshape(len(mask), -1)
    there = rows[rows.any(axis=1)]
    return math.prod(shape) - len(there) * math.prod(shape[1:]) + int(np.count_nonzero(~there))


def _warning(header: dict[str, Any]) -> str | None:
    return "; ".join(header.get("warnings", [])) or None


def _teacher(path: Path, header: dict[str, Any]) -> str | None:
    """The teacher of the network at `path`: its own or, of a grafted or rounded one, that of what it was made from."""
    while header["stage"] == GRAFTED or variant_of(header["stage"]):
        before = parent_file(path, header["stage"])
        if before is None or not before.is_file():
            return None
        path, header = before, read_header(before)
    return (header.get("config", {}).get("distillation") or {}).get("teacher")


def _about(header: dict[str, Any]) -> tuple[str, str]:
    return content.of_header(header)[: content.SHORT], header.get("data", "")[: content.SHORT]


def _outcome_lines(row: Row) -> Iterator[dict[str, Any]]:
    """One line per attack or verifier."""
    warnings = row.outcomes.warnings()
    for kind, hit, tables in _tables(row.outcomes):
        for name, table in tables.items():
            share, low, high = accuracy((table["status"] == hit).to_numpy())
            counts = {status: int((table["status"] == status).sum()) for status in STATUSES}
            yield {
                **row.identity,
                "kind": kind,
                "name": name,
                "norm": table["norm"].iloc[0],
                "eps": table["eps"].iloc[0],
                "samples": len(table),
                "correct": int((table["prediction"] == table["label"]).sum()),
                **counts,
                "abstained": int((table["prediction"] == ABSTAINED).sum()),
                "accuracy": share,
                "accuracy_low": low,
                "accuracy_high": high,
                "warnings": warnings.get(name, "") if kind == "attack" else "",
            }


def _tables(outcomes: Outcomes) -> Iterator[tuple[str, str, dict[str, pd.DataFrame]]]:
    """The kind of the entries, the status that counts as a hit, and the tables by name."""
    yield "attack", "robust", outcomes.attacks
    yield "verifier", "verified", outcomes.verifiers
    yield "smoothed verifier", "verified", outcomes.smoothed


NONE = pd.Series(dtype=bool)
STATUSES = ("robust", "broken", "verified", "falsified", "unknown")
ABOUT = ("network", "data")
OUTCOME_COLUMNS = [*IDENTITY, "kind", "name", "norm", "eps", "samples", "correct", *STATUSES]
OUTCOME_COLUMNS += ["abstained", "accuracy", "accuracy_low", "accuracy_high", "warnings"]


def _summary(rows: list[Row], dense: dict[tuple, Outcomes], spec: AggregateSpec) -> pd.DataFrame:
    """A line for each row: the study's own columns, those of its analyses in its order, and what the checkpoint is made of.

    Raises SparrowError if an analysis has a column of the study's own.
    """
    own = [_summary_line(row, dense.get(row.parent), spec) for row in rows]
    if _rounded(rows):
        own = [line | dict.fromkeys(STORED, np.nan) | row.stored for line, row in zip(own, rows, strict=True)]
    more = [analyses.summary_of(row.analysed, spec.analyses) for row in rows]
    about = [dict(zip(ABOUT, row.about, strict=True)) for row in rows]
    # Not every network is there for every analysis: the columns of the first row are not all.
    order = list(spec.analyses)
    names = sorted(dict.fromkeys(name for line in more for name in line), key=lambda name: order.index(name.split("_")[0]))
    known = {*ABOUT, *(name for line in own for name in line)}
    for name in names:
        if name in known:
            raise SparrowError(f"analyses.{name.split('_')[0]}: its summary has the column {name}, which every study has")
    lines = [{**line, **dict.fromkeys(names, np.nan), **new, **end} for line, new, end in zip(own, more, about, strict=True)]
    return pd.DataFrame(lines)


def _summary_line(row: Row, dense: Outcomes | None, spec: AggregateSpec) -> dict[str, Any]:
    own = row.outcomes
    threat = spec.objectives[row.identity["objective"]].threat
    line = {**row.identity, "granularity": row.granularity, "failed": row.failed, "data_regime": row.data_regime}
    facts = spec.methods.get(row.identity["method"])
    line |= {name: getattr(facts, name, None) for name in MethodFacts.model_fields}
    line |= {"constant": own.constant(), "chance": own.chance()}
    line |= {"teacher": row.teacher, "warnings": row.warnings}
    line |= {**threat.model_dump(), **row.size}
    line |= _measure("benign", own.correct())
    for name in spec.attacks:
        line |= _measure(f"era_{name}", _hit(own.attacks.get(name), "robust"))
    line |= _measure("era", own.robust())
    for name in spec.verifiers:
        line |= _measure(f"vra_{name}", _hit((own.verifiers | own.smoothed).get(name), "verified"))
    line |= _measure("vra", verified_by_some(own))
    line |= verifiers_behind(own, spec.objectives[row.identity["objective"]])
    for name, metric in (("benign", Outcomes.correct), ("era", Outcomes.robust), ("vra", Outcomes.verified)):
        before, after = metric(dense) if dense else NONE, metric(own)
        # A network that failed, or whose dense parent did, has nothing to compare.
        both = after.index.intersection(before.index)
        values = preserved(after[both].to_numpy(), before[both].to_numpy()) if len(both) else (np.nan,) * 3
        line |= dict(zip(_names(f"preserved_{name}"), values, strict=True))
    warnings = own.warnings()
    if line["constant"]:
        warnings = {name: marks.beside_constant(text) for name, text in warnings.items()}
    line["era_warnings"] = "; ".join(f"{name}: {text}" for name, text in warnings.items() if text)
    return line


def _hit(table: pd.DataFrame | None, status: str) -> pd.Series:
    return NONE if table is None else table["status"] == status


def _measure(name: str, hits: pd.Series) -> dict[str, Any]:
    """Accuracy, interval and number of images behind it."""
    return dict(zip(_names(name), accuracy(hits.to_numpy()), strict=True)) | {f"{name}_n": len(hits)}


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"

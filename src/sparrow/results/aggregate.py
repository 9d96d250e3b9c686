"""From the files of a study to outcomes.csv, summary.csv, layers.csv, recall.csv and ranking.csv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparrow.checkpoint_file import COMPACT_FORMAT, read, sha256
from sparrow.errors import SparrowError
from sparrow.outcome_table import ABSTAINED
from sparrow.results.outcomes import Outcomes, read_outcomes
from sparrow.results.ranking import Hits, rank
from sparrow.results.recall import recalls
from sparrow.results.statistics import accuracy, preserved

IDENTITY = ["dataset", "model", "objective", "method", "ratio", "seed", "stage"]


@dataclass(frozen=True)
class Row:
    """One checkpoint: who it is, what it weighs, how it did."""

    identity: dict[str, Any]
    layers: pd.DataFrame
    size: dict[str, Any]
    outcomes: Outcomes

    @property
    def parent(self) -> tuple:
        """What a pruned network and its dense parent share."""
        return tuple(self.identity[key] for key in ("dataset", "model", "objective", "seed"))


def aggregate(networks: list[Path], compact: list[Path], folder: Path, spec: dict) -> None:
    """Read the tables of all `networks` and write five tables to `folder`, sorted by who the checkpoint is.

    `compact` are those of the networks that have had their pruned filters cut out; `spec` names the `attacks` and
    `verifiers` and holds the `threat`. Raises SparrowError before anything is written if one file is not what it should
    be, or if two contradict each other.
    """
    cut = {path.parent: path for path in compact}
    rows = sorted((_row(path, cut.get(path.with_suffix("")), spec) for path in networks), key=_order)
    dense = {row.parent: row.outcomes for row in rows if row.identity["stage"] == "dense"}
    tables = {
        "outcomes": pd.DataFrame([line for row in rows for line in _outcome_lines(row)]),
        "summary": pd.DataFrame([_summary_line(row, dense.get(row.parent), spec["threat"]) for row in rows]),
        "layers": pd.concat([_named(row, row.layers) for row in rows]),
        "recall": pd.concat([_named(row, recalls(row.outcomes)) for row in rows]),
        "ranking": rank(_hits(row) for row in rows if row.identity["stage"] != "dense"),
    }
    for name, table in tables.items():
        # By its ratio a cell is found again: every digit counts.
        table["ratio"] = table["ratio"].map(lambda ratio: repr(float(ratio)))
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")


def _order(row: Row) -> tuple:
    return tuple(row.identity.values())


def _named(row: Row, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with who the checkpoint is in front."""
    return table.assign(**row.identity)[[*IDENTITY, *table.columns]]


def _hits(row: Row) -> Hits:
    return Hits(row.identity, {"era": row.outcomes.robust(), "vra": row.outcomes.verified()})


def _row(path: Path, compact: Path | None, spec: dict) -> Row:
    header, tensors = read(path, framework="np")
    cell = {"method": "dense", "ratio": 0.0} | header["cell"]
    identity = {key: header["stage"] if key == "stage" else cell[key] for key in IDENTITY}
    weights = {name: tensors[f"weight/{name}"] for name in header["parameters"]}
    sizes = pd.DataFrame(
        {
            "layer": header["prunable"],
            "weights": [weights[name].size for name in header["prunable"]],
            "nonzero": [np.count_nonzero(weights[name]) for name in header["prunable"]],
        }
    )
    sizes["sparsity"] = 1 - sizes["nonzero"] / sizes["weights"]
    total = sum(weight.size for weight in weights.values())
    nonzero = sum(int(np.count_nonzero(weight)) for weight in weights.values())
    size = {
        "sparsity_prunable": 1 - sizes["nonzero"].sum() / sizes["weights"].sum(),
        "sparsity_all": 1 - nonzero / total,
        "parameters": total,
        "nonzero": nonzero,
        "multiply_adds": header["multiply_adds"],
        "compact_parameters": np.nan,
        "compact_multiply_adds": np.nan,
    }
    if compact is not None:
        smaller, _ = read(compact, framework="np", expected=COMPACT_FORMAT)
        if smaller["parent"] != sha256(path):
            raise SparrowError(f"{compact}: was not cut from {path}; delete it to make it anew")
        size |= {"compact_parameters": smaller["parameters_left"], "compact_multiply_adds": smaller["multiply_adds"]}
    return Row(identity, sizes, size, read_outcomes(path.with_suffix(""), spec["attacks"], spec["verifiers"], spec["smoothed"]))


def _outcome_lines(row: Row) -> Iterator[dict[str, Any]]:
    """One line per attack or verifier."""
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
            }


def _tables(outcomes: Outcomes) -> Iterator[tuple[str, str, dict[str, pd.DataFrame]]]:
    """What a table's rows are about, which status counts as a hit, and the tables."""
    yield "attack", "robust", outcomes.attacks
    yield "verifier", "verified", outcomes.verifiers
    yield "smoothed verifier", "verified", outcomes.smoothed


STATUSES = ("robust", "broken", "verified", "falsified", "unknown")


def _summary_line(row: Row, dense: Outcomes | None, threat: dict[str, Any]) -> dict[str, Any]:
    own = row.outcomes
    line = {**row.identity, **threat, **row.size}
    line |= _measure("benign", own.correct())
    for name, table in own.attacks.items():
        line |= _measure(f"era_{name}", table["status"] == "robust")
    line |= _measure("era", own.robust())
    for name, table in (own.verifiers | own.smoothed).items():
        line |= _measure(f"vra_{name}", table["status"] == "verified")
    line |= _measure("vra", own.verified())
    for name, before, after in (
        ("benign", dense and dense.correct(), own.correct()),
        ("era", dense and dense.robust(), own.robust()),
        ("vra", dense and dense.verified(), own.verified()),
    ):
        values = (np.nan,) * 3 if before is None else preserved(after.to_numpy(), before.loc[after.index].to_numpy())
        line |= dict(zip(_names(f"preserved_{name}"), values, strict=True))
    return line


def _measure(name: str, hits: pd.Series) -> dict[str, Any]:
    """Accuracy, interval and number of images behind it."""
    return dict(zip(_names(name), accuracy(hits.to_numpy()), strict=True)) | {f"{name}_n": len(hits)}


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"

"""What a network's whole chain of trainings costs: of all that it comes from, and no other."""

from __future__ import annotations

import pandas as pd

from sparrow.files.paths import (
    CELL_COLUMNS,
    DENSE,
    IDENTITY,
    JOB_OF_CELL,
    LABEL_COLUMNS,
    base_of,
    checkpoint_of,
    stage_of,
    variant_of,
)

CHAIN = ["prune", "finetune", "graft", "quantise"]
"""Stages that make the checkpoints of a cell, in their order."""
_MADE = ["pruned", "finetuned", "grafted"]


def jobs_of_cells(costs: pd.DataFrame) -> pd.DataFrame:
    """The jobs that belong to a pruned network, with its cell, its seed, and `of`, the checkpoint they are about."""
    parts = costs["job"].str.extract(JOB_OF_CELL).dropna().astype({"seed": int, "ratio": float})
    return parts.join(costs)


def chains(costs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Gradient evaluations of the chain behind each pruned network of a summary: `CELL_COLUMNS`, `stage`, mean over seeds.

    A network that was pruned `before` or `during` training owes nothing to the dense one, unless that has taught it. NaN where
    a cost is not known, as of imported networks.
    """
    jobs = jobs_of_cells(costs[costs["stage"].isin(CHAIN)])
    made = jobs[[*CELL_COLUMNS, "seed", "of"]].itertuples(index=False, name=None)
    spent = dict(zip(made, jobs["gradient_evaluations"], strict=True))
    pretrained = _pretrained(costs)
    rows = []
    pruned = summary[summary["stage"].map(base_of) != DENSE]
    for row in pruned.reindex(columns=[*IDENTITY, "pipeline", "teacher"]).to_dict("records"):
        cell = tuple(row[column] for column in (*CELL_COLUMNS, "seed"))
        parent = tuple(row[column] for column in (*LABEL_COLUMNS, "seed"))
        total = sum(spent.get((*cell, one), float("nan")) for one in _behind(row["stage"]))
        if row["pipeline"] not in ("before", "during") or row["teacher"] == DENSE:
            total += pretrained.get(parent, float("nan"))
        rows.append({column: row[column] for column in (*CELL_COLUMNS, "stage")} | {"gradient_evaluations": total})
    found = pd.DataFrame(rows, columns=[*CELL_COLUMNS, "stage", "gradient_evaluations"])
    found["gradient_evaluations"] = pd.to_numeric(found["gradient_evaluations"], errors="coerce")
    return found.groupby([*CELL_COLUMNS, "stage"], as_index=False).mean()


def _behind(stage: str) -> list[str]:
    """The checkpoints of a cell that the one after a `stage` comes from, itself last."""
    before = _MADE[: _MADE.index(base_of(stage)) + 1]
    return [*before, stage] if variant_of(stage) else before


def budgets(costs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """What each pruned network of a summary cost: `CELL_COLUMNS`, `stage`, and means over seeds.

    `STAGE_gradient_evaluations` and `STAGE_seconds` are those of its jobs of each stage of `CHAIN` that the study has, empty
    where that comes after the network; `chain_gradient_evaluations` are those of `chains`.
    """
    found = chains(costs, summary).rename(columns={"gradient_evaluations": "chain_gradient_evaluations"})
    jobs = jobs_of_cells(costs[costs["stage"].isin(CHAIN)])
    spent = jobs.groupby([*CELL_COLUMNS, "of"])[["gradient_evaluations", "seconds"]].mean().reset_index()
    for stage in CHAIN:
        # Variants of dense networks alone are made for no pruned one.
        if found.empty or (jobs["stage"] != stage).all():
            continue
        made = [next((one for one in _behind(own) if stage_of(one) == stage), "") for own in found["stage"]]
        cells = found[CELL_COLUMNS].assign(of=pd.Series(made, found.index, dtype=object)).merge(spent, how="left")
        for quantity in ("gradient_evaluations", "seconds"):
            found[f"{stage}_{quantity}"] = cells[quantity]
    counts = [name for name in (f"{stage}_gradient_evaluations" for stage in ("chain", *CHAIN)) if name in found]
    return found.assign(**{name: found[name].round().astype("Int64") for name in counts})


def _pretrained(costs: pd.DataFrame) -> dict[tuple, float]:
    """Gradient evaluations of pre-training by data set, model, objective and seed."""
    jobs = costs[costs["stage"] == "pretrain"]
    parents = [checkpoint_of(job) for job in jobs["job"]]
    return {tuple(one.parent): count for one, count in zip(parents, jobs["gradient_evaluations"], strict=True) if one}

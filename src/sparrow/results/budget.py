"""What a network's whole chain of trainings costs: of all that it comes from, and no other."""

from __future__ import annotations

import pandas as pd

from sparrow.files.paths import CELL_COLUMNS, DENSE, IDENTITY, JOB_OF_CELL, LABEL_COLUMNS, checkpoint_of

CHAIN = ["prune", "finetune", "graft"]
"""Stages that make the checkpoints of a cell, in their order."""


def jobs_of_cells(costs: pd.DataFrame) -> pd.DataFrame:
    """The jobs that belong to a pruned network, with its cell, its seed, and `of`, the checkpoint they are about."""
    parts = costs["job"].str.extract(JOB_OF_CELL).dropna().astype({"seed": int, "ratio": float})
    return parts.join(costs)


def chains(costs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Gradient evaluations of the chain behind each pruned network of a summary: `CELL_COLUMNS`, `stage`, mean over seeds.

    A network that was pruned `before` or `during` training owes nothing to the dense one, unless that has taught it. NaN where
    a cost is not known, as of imported networks.
    """
    spent = {
        stage: jobs.set_index([*CELL_COLUMNS, "seed"])["gradient_evaluations"]
        for stage, jobs in jobs_of_cells(costs[costs["stage"].isin(CHAIN)]).groupby("stage")
    }
    pretrained = _pretrained(costs)
    rows = []
    for row in summary[summary["stage"] != DENSE].reindex(columns=[*IDENTITY, "pipeline", "teacher"]).to_dict("records"):
        cell = tuple(row[column] for column in (*CELL_COLUMNS, "seed"))
        parent = tuple(row[column] for column in (*LABEL_COLUMNS, "seed"))
        stages = CHAIN[: {"pruned": 1, "finetuned": 2}.get(row["stage"], len(CHAIN))]
        total = sum(spent.get(stage, pd.Series(dtype=float)).get(cell, float("nan")) for stage in stages)
        if row["pipeline"] not in ("before", "during") or row["teacher"] == DENSE:
            total += pretrained.get(parent, float("nan"))
        rows.append({column: row[column] for column in (*CELL_COLUMNS, "stage")} | {"gradient_evaluations": total})
    found = pd.DataFrame(rows, columns=[*CELL_COLUMNS, "stage", "gradient_evaluations"])
    found["gradient_evaluations"] = pd.to_numeric(found["gradient_evaluations"], errors="coerce")
    return found.groupby([*CELL_COLUMNS, "stage"], as_index=False).mean()


def budgets(costs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """What each pruned network of a summary cost: `CELL_COLUMNS`, `stage`, and means over seeds.

    `STAGE_gradient_evaluations` and `STAGE_seconds` are those of its jobs of each stage of `CHAIN` that the study has, empty
    where that comes after the network; `chain_gradient_evaluations` are those of `chains`.
    """
    found = chains(costs, summary).rename(columns={"gradient_evaluations": "chain_gradient_evaluations"})
    spent = jobs_of_cells(costs).groupby([*CELL_COLUMNS, "stage"])[["gradient_evaluations", "seconds"]].mean()
    for place, stage in enumerate(CHAIN):
        if (costs["stage"] != stage).all():
            continue
        cells = found[CELL_COLUMNS].assign(stage=stage).merge(spent.reset_index(), how="left")
        part = found["stage"].map({"pruned": 1, "finetuned": 2}).fillna(len(CHAIN)) > place
        for quantity in ("gradient_evaluations", "seconds"):
            found[f"{stage}_{quantity}"] = cells[quantity].where(part)
    counts = [name for name in (f"{stage}_gradient_evaluations" for stage in ("chain", *CHAIN)) if name in found]
    return found.assign(**{name: found[name].round().astype("Int64") for name in counts})


def _pretrained(costs: pd.DataFrame) -> dict[tuple, float]:
    """Gradient evaluations of pre-training by data set, model, objective and seed."""
    jobs = costs[costs["stage"] == "pretrain"]
    parents = [checkpoint_of(job) for job in jobs["job"]]
    return {tuple(one.parent): count for one, count in zip(parents, jobs["gradient_evaluations"], strict=True) if one}

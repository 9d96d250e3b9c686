"""What each job of a study cost, in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files.atomic import replacing
from sparrow.files.cost import read_cost


def collect_costs(files: list[Path], output: Path, root: Path) -> None:
    """One row per `*.cost.json`: the job, named by its path below `root`, and its cost.

    Raises SparrowError, naming the file, if one is not the cost of a job.
    """
    rows = []
    for path in sorted(files):
        job = str(path.relative_to(root)).removesuffix(".cost.json")
        rows.append({"job": job, "stage": _stage(job), **read_cost(path)})
    with replacing(output) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, lineterminator="\n")


def _stage(job: str) -> str:
    """`.../dense` was pre-trained, `.../attacks/pgd` attacked."""
    *above, folder, name = job.split("/")
    if not above:
        return "data"
    by_folder = {"attacks": "attack", "verifiers": "verify", "analyses": "analyse"}
    by_name = {"dense": "pretrain", "pruned": "prune", "finetuned": "finetune"}
    by_name["compact"] = "compact"
    return by_folder.get(folder) or by_name[name]

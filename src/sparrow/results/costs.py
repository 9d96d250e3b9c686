"""The table of the costs of all jobs of a study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sparrow.files.atomic import replacing
from sparrow.files.cost import read_cost
from sparrow.files.paths import COST, stage_of


def collect_costs(files: list[Path], output: Path) -> None:
    """One row per cost: the job, named by its path below the folder of `output`, and its cost.

    Raises SparrowError, naming the file, if one is not the cost of a job.
    """
    rows = []
    for path in sorted(files):
        job = str(path.relative_to(output.parent)).removesuffix(COST)
        rows.append({"job": job, "stage": stage_of(job), **read_cost(path)})
    with replacing(output) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, lineterminator="\n")

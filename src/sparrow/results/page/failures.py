"""Why networks are missing: each failure once, with what failed first, its reason, and what was lost with it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from sparrow.files.paths import LABEL_COLUMNS, Checkpoint, checkpoint_of, stage_of
from sparrow.results.page import words
from sparrow.results.page.study_data import StudyData

DENSE_NETWORK = "The dense network"
STEPS = {
    "initial": DENSE_NETWORK,
    "pretrain": DENSE_NETWORK,
    "prune": "Pruning",
    "finetune": "Fine-tuning",
    "graft": "Grafting",
    "quantise": "Rounding",
    "attack": "Attack",
    "verify": "Verifier",
    "analyse": "Analysis",
}
"""What failed, by the stage whose job did."""


class Failure(NamedTuple):
    """What failed of one kind, for one reason."""

    step: str
    """What failed: `The dense network`, `Fine-tuning`, `Attack pgd`."""
    reason: str
    origins: list[Checkpoint]
    """The networks of which it did."""
    rows: pd.DataFrame
    """Rows of summary.csv that have the failure: of `origins`, and of what is made from them."""

    @property
    def is_dense(self) -> bool:
        """Whether networks could not be trained at all, so that nothing was there to be pruned."""
        return self.step == DENSE_NETWORK


def failures(data: StudyData) -> list[Failure]:
    """The failures behind the column `failed` of summary.csv, those with the most rows first.

    Reasons that differ by their numbers alone are one; the first stands for all.
    """
    found: dict[tuple[str, str], dict[object, tuple[str, Checkpoint | None]]] = {}
    for place, text in data.summary["failed"].dropna().items():
        step, reason, origin = _parsed(str(text), data.spec.results)
        found.setdefault((step, re.sub(r"\d+", "#", reason)), {})[place] = reason, origin
    kinds = [
        Failure(
            step,
            next(iter(own.values()))[0],
            list(dict.fromkeys(origin for _, origin in own.values() if origin)),
            data.summary.loc[list(own)],
        )
        for (step, _), own in found.items()
    ]
    return sorted(kinds, key=lambda one: -len(one.rows))


def reason_of(text: str, results: str) -> str:
    """The column `failed` without the path of the file, which the row says, but with what failed: `Fine-tuning: ...`."""
    step, reason, _ = _parsed(text, results)
    return f"{step}: {reason}" if step else reason


def sentence(failure: Failure, data: StudyData) -> str:
    """What failed, of which networks, why, and what is missing for it."""
    named = words.listed([_name(one, data) for one in failure.origins[:3]])
    more = f" and {len(failure.origins) - 3} more" if len(failure.origins) > 3 else ""
    what = f"{failure.step or words.count(len(failure.rows), 'network')} failed" + (f" ({named}{more})" if named else "")
    lost = len(failure.rows) - len(failure.origins)
    if not failure.step or lost <= 0:
        return f"{what}: {failure.reason}."
    made = "pruned" if failure.is_dense else "made"
    source, was, is_ = "it" if len(failure.origins) == 1 else "them", *(("was", "is") if lost == 1 else ("were", "are"))
    return f"{what}: {failure.reason}. So {words.count(lost, 'network')} that {was} to be {made} from {source} {is_} missing."


def _parsed(text: str, results: str) -> tuple[str, str, Checkpoint | None]:
    """What failed, why, and of which network; the first and last are empty where the text does not say."""
    file, found, reason = text.partition(": ")
    base = f"{results.rstrip('/')}/"
    if not found or not file.startswith(base):
        return "", text, None
    job = str(PurePosixPath(file[len(base) :]).with_suffix(""))
    origin = checkpoint_of(job)
    if origin is None:
        return "", text, None
    stage = stage_of(job)
    step = STEPS.get(stage, stage)
    return f"{step} {PurePosixPath(job).name}" if stage in ("attack", "verify", "analyse") else step, reason, origin


def _name(one: Checkpoint, data: StudyData) -> str:
    """A network by what sets it apart in its study: `crown-ibp`, `crown-ibp / hydra at 0.9, seed 1`."""
    parts = [
        str(value)
        for column, value in zip(LABEL_COLUMNS, one.parent.labels, strict=True)
        if data.summary[column].nunique() > 1 or column == LABEL_COLUMNS[-1]
    ]
    cell = f" / {one.cell.method} at {one.cell.ratio:g}" if one.cell else ""
    return " / ".join(parts) + cell + (f", seed {one.parent.seed}" if len(data.spec.seeds) > 1 else "")
